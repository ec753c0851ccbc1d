import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { forTheseGpus, onRealGpus, releaseGpus, runOnGpus } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(120_000)

/** Interrupts of the driver so far, by the columns of /proc/interrupts: one a CPU. */
function served(): number[] {
  const [header, ...lines] = readFileSync('/proc/interrupts', 'utf8').split('\n')
  const cpus = header!.trim().split(/\s+/).length
  return lines
    .filter(line => line.endsWith('nvidia'))
    .map(line =>
      line
        .trim()
        .split(/\s+/)
        .slice(1, cpus + 1)
        .map(Number),
    )
    .reduce((sum, counts) => sum.map((count, cpu) => count + counts[cpu]!), new Array<number>(cpus).fill(0))
}

/** A run that decodes on the first GPU. @returns its notes on CPUs, and how often it interrupted each */
async function decoding(env: Record<string, string>): Promise<{ notes: string[]; by: number[] }> {
  const pipeline = forTheseGpus([
    { model: 'loader', in_flight: 4, queue_groups: [{ gpus: [0], out_queues: [0] }] },
    { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
  ])
  const before = served()
  const { status, summary } = await runOnGpus(pipeline, ['-v', '64', '-mi', '0'], env)
  expect(status).toBe(0)
  const after = served()
  return {
    notes: summary.notes.filter(note => note.startsWith('threads keep off')),
    by: after.map((count, cpu) => count - before[cpu]!),
  }
}

// Where there are fewer, each of them is wanted.
const enough = availableParallelism() >= 4

describe.skipIf(!onRealGpus || !enough)('the CPU that a GPU interrupts', () => {
  test('is left alone, and the run says which one that is', async () => {
    const { notes, by } = await decoding({})
    const busiest = by.indexOf(Math.max(...by))
    expect(notes).toHaveLength(1)
    expect(notes[0]!.match(/CPUs? ([\d, ]+)/)![1]!.split(', ')).toContain(String(busiest))
  })

  test('is not where people want to compare', async () => {
    expect((await decoding({ RNB_AVOID_INTERRUPTS: '0' })).notes).toEqual([])
  })
})
