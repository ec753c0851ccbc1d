import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { file, Running, rnb } from './rnb.ts'

const OPTION = 'BUN_JSC_useConcurrentJIT'

/** A pipeline of so many synthetic loaders, each a thread. Returns its path. */
const withLoaders = (count: number): string =>
  file(
    'threads.json',
    JSON.stringify({
      pipeline: [
        {
          model: 'synthetic-loader',
          queue_groups: [{ gpus: Array(count).fill(-1), out_queues: [0] }],
          num_clips_population: [1],
          num_clips_weights: [1],
        },
        { model: 'synthetic-network', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
      ],
    }),
  )

/** Runs so many loaders until they are stopped. */
const start = (loaders: number, env: Record<string, string> = {}) => {
  const load = ['-v', '1000000', '-mi', '1', '--on-full', 'wait', '--results', '-', '--quiet']
  return new Running(['run', '-c', withLoaders(loaders), ...load], { env })
}

/** While it runs: what its environment says of who compiles, and whether threads for that are there. */
async function compilers(running: Running) {
  await running.line()
  const { pid } = running
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  const names = readdirSync(`/proc/${pid}/task`).map(task =>
    readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8').trim(),
  )
  running.kill('SIGINT')
  const outcome = await running.ended()
  expect(outcome.stderr).toContain('interrupted')
  expect(outcome.status).toBe(130)
  expect(outcome.summary.requests.failed).toBe(0)
  return {
    said: variables.find(variable => variable.startsWith(`${OPTION}=`)),
    apart: names.some(name => name.startsWith('JITWorker')),
  }
}

test('of many threads each compiles what it runs, in the process that was started', async () => {
  expect(await compilers(start(30))).toEqual({ said: `${OPTION}=0`, apart: false })
})

test('for few threads, others compile', async () => {
  expect(await compilers(start(3))).toEqual({ said: undefined, apart: true })
})

test('who compiles is for the environment to say', async () => {
  expect(await compilers(start(30, { [OPTION]: '1' }))).toEqual({ said: `${OPTION}=1`, apart: true })
})

test('the process of a run with many threads, which end one after the other, ends once and well', async () => {
  const flags = ['-v', '3000', '-qs', '3000', '-mi', '0', '--results', '-', '--quiet']
  const { stdout, status, stderr } = await rnb(['run', '-c', withLoaders(40), ...flags])
  expect(stderr).toBe('')
  expect(status).toBe(0)
  // Nothing that was written last is lost.
  const lines = stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(3001)
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ type: 'summary', requests: { completed: 3000 } })
})
