import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { loader, network, pipeline, root, run } from './rnb.ts'

const program = [join(root, 'node_modules/.bin/bun'), join(root, 'test/e2e/faulty-main.ts')]
const VIDEOS = 8

/** Four steps, so that there is a first one, one in the middle, and a last one. */
const chain = (): string =>
  pipeline([
    loader(),
    { model: 'batcher', queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] },
    network({ queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] }),
    { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
  ])

const withFault = (where: string, fault: string, after = 0) =>
  run(chain(), ['-v', String(VIDEOS), '-mi', '0'], {
    program,
    env: { FAULT_IN: where, FAULT: fault, FAULT_AFTER: String(after) },
  })

const NAMES: Record<string, string> = {
  client: 'the client',
  0: 'step 0 (loader)',
  1: 'step 1 (batcher)',
  2: 'step 2 (network)',
  3: 'step 3 (aggregator)',
}

for (const [where, name] of Object.entries(NAMES)) {
  const faults =
    where === 'client' ? ['throw', 'exit'] : ['throw', 'reject', 'exit', 'create', 'warm-up', 'flush']
  test.each(faults)(`${name} goes wrong by %s: the run ends with its name`, async fault => {
    const outcome = await withFault(where, fault)
    expect(outcome.status).toBe(1)
    const { exit } = outcome.summary
    expect(exit.status).toBe(1)
    expect(exit.reason).toBe('failed')
    expect(exit.message).toContain(name)
    expect(outcome.stderr).toContain(name)
    if (fault === 'exit') return
    expect(exit.message).toContain('put here by a test')
    // Where it happened, for whoever has to mend it.
    expect(outcome.stderr).toMatch(/faulty-main\.ts:\d+/)
  })
}

test('results that were there before are kept', async () => {
  const outcome = await withFault('3', 'throw', 3)
  expect(outcome.status).toBe(1)
  expect(outcome.results.length).toBe(3)
  expect(outcome.summary.requests).toMatchObject({ asked: VIDEOS, completed: 3, failed: 0 })
})

test('without a fault the same pipeline gives every result', async () => {
  const outcome = await withFault('none', 'throw')
  expect(outcome.status).toBe(0)
  expect(outcome.results).toHaveLength(VIDEOS)
})
