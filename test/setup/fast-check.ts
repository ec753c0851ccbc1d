import fc from 'fast-check'

/** The same cases on every run, so that a change is judged by what it changed; RNB_TEST_SEED asks for others. */
fc.configureGlobal({ seed: Number(process.env.RNB_TEST_SEED ?? 20261122) })
