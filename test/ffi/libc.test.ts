import { expect, test } from 'bun:test'
import { fileURLToPath } from 'node:url'
import { NICENESS, onThread } from './on-thread.ts'

const libc = fileURLToPath(new URL('../../ffi/libc.ts', import.meta.url))

test('a thread that gives way is nicer than before, and the others are as they were', async () => {
  const before = Number(await onThread('', NICENESS))
  const giveWay = `require(${JSON.stringify(libc)}).giveWay()`
  expect(await onThread(giveWay, NICENESS)).toBe(Math.min(19, before + 10))
  expect(await onThread('', NICENESS)).toBe(before)
})

test('a program in place of this one has its process, its arguments and the environment that was set', () => {
  const program = `
    const { environmentDefault, replaceProcess } = require(${JSON.stringify(libc)})
    environmentDefault('RNB_TEST_SET', 'by us')
    environmentDefault('RNB_TEST_GIVEN', 'by us')
    process.stdout.write(process.pid + '\\n')
    replaceProcess(['/bin/sh', '-c', 'echo $$ "$RNB_TEST_SET" "$RNB_TEST_GIVEN" "$0" "$1"', 'a b', 'c'])
  `
  const { stdout, exitCode } = Bun.spawnSync([process.execPath, '-e', program], {
    env: { ...process.env, RNB_TEST_GIVEN: 'before' },
  })
  const [before, after] = stdout.toString().split('\n')
  expect(exitCode).toBe(0)
  expect(after).toBe(`${before} by us before a b c`)
})

test('where there is no such program, the one that is goes on', () => {
  const program = `require(${JSON.stringify(libc)}).replaceProcess(['/nowhere/at-all']); console.log('still here')`
  const { stdout, exitCode } = Bun.spawnSync([process.execPath, '-e', program])
  expect(exitCode).toBe(0)
  expect(stdout.toString()).toBe('still here\n')
})
