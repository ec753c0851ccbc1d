import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loader, network, pipeline, Running, scratch } from './rnb.ts'

const VIDEOS = 400

const start = (...more: string[]) =>
  new Running([
    ...['run', '-c', pipeline([loader(), network()]), '--device', 'cpu', '--results', '-'],
    ...['-v', String(VIDEOS), '-mi', '20', ...more],
  ])

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s: what is in flight is finished, then the summary',
  async signal => {
    const logs = scratch()
    const running = start('--log-dir', logs)
    await running.line()
    running.kill(signal)
    const outcome = await running.ended()
    expect(outcome.status).toBe(130)
    const [folder] = readdirSync(logs)
    expect(readFileSync(join(logs, folder!, 'log-meta.txt'), 'utf8')).toContain('\nTermination flag: -1\n')
    const { exit, requests } = outcome.summary
    expect(exit).toMatchObject({ status: 130, reason: 'interrupted' })
    expect(requests.completed).toBe(outcome.results.length)
    expect(requests.completed).toBeGreaterThan(0)
    expect(requests.arrived).toBeLessThan(VIDEOS)
    expect(outcome.stderr).toContain('interrupted')
  },
)

test('a second signal stops at once, with a summary all the same', async () => {
  const running = start('-mi', '0')
  await running.line()
  running.kill('SIGINT')
  await running.said('interrupted')
  running.kill('SIGINT')
  const outcome = await running.ended()
  expect(outcome.status).toBe(130)
  expect(outcome.summary.exit.status).toBe(130)
  expect(outcome.summary.requests.completed).toBeLessThan(VIDEOS)
})

test('a full queue aborts the run: which queue, and what the load was', async () => {
  const running = start('-mi', '0.01', '-qs', '1', '--quiet')
  const outcome = await running.ended()
  expect(outcome.status).toBe(3)
  const { exit, queues } = outcome.summary
  expect(exit).toMatchObject({ status: 3, reason: 'queue_full' })
  expect(exit.message).toContain("'filename'")
  expect(exit.message).toContain(String(VIDEOS))
  expect(queues[0]).toMatchObject({ name: 'filename', capacity: 1, high_water: 1 })
})
