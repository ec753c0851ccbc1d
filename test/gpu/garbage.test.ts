import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { demo, file, type Outcome, oneClip, rnb, run } from '../e2e/rnb.ts'
import { canDecode, folderOf, madeUpVideo, releaseEngines, runWithEngines } from './decoding.ts'
import { forTheseGpus, GPUS, onRealGpus, releaseGpus, runOnGpus } from './pipelines.ts'

afterAll(() => {
  releaseGpus()
  releaseEngines()
})
setDefaultTimeout(120_000)

/** Memory that C was given by address alone is gone at once. */
const COLLECTING = { BUN_JSC_collectContinuously: '1' }
const FLAGS = ['-v', '3', '-mi', '0', '--seed', '5']
const RUNS = 2

const facts = ({ results }: Outcome) => results.map(({ id, video, clips, top }) => [id, video, clips, top])

/** A program made for GPU hosts comes without ONNX Runtime. */
const { findings } = JSON.parse((await rnb(['doctor', '--json'])).stdout) as {
  findings: { what: string; ok: boolean }[]
}
const computesOnCpu = findings.find(({ what }) => what === 'ONNX Runtime')?.ok === true
if (!computesOnCpu) console.warn('skipped: networks on the CPU beside the garbage collector: no ONNX Runtime')

const ways: [name: string, go: (env: Record<string, string>) => Promise<Outcome>][] = []
if (computesOnCpu) ways.push(['on the CPU', env => run(oneClip(), FLAGS, { env })])
if (GPUS > 0 && !onRealGpus) {
  const across = () =>
    forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
      { model: 'network', queue_groups: [{ gpus: [1], in_queue: 0, out_queues: [0] }], end_index: 2 },
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }], start_index: 3 },
    ])
  ways.push(['on two GPUs, by a stand-in', env => runOnGpus(across(), FLAGS, env)])
}

if (canDecode) {
  const videos = folderOf({ 'a.webm': await madeUpVideo(200), 'b.webm': await madeUpVideo(90) })
  const { weights, labels } = demo
  const single = {
    model: 'single',
    queue_groups: [{ gpus: [0] }],
    num_clips_population: [2],
    num_clips_weights: [1],
  }
  const pipeline = file(
    'engines.json',
    JSON.stringify({ video_root: videos, weights, labels, pipeline: [single] }),
  )
  const go = async (env: Record<string, string>) => (await runWithEngines(pipeline, FLAGS, env)).outcome
  ways.push(['with decoding engines, by a stand-in', go])
}

test.each(ways)('%s, the garbage collector at work all the time changes no result', async (_, go) => {
  const expected = facts(await go({}))
  expect(expected).toHaveLength(3)
  for (let i = 0; i < RUNS; i++) {
    const outcome = await go(COLLECTING)
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    expect(facts(outcome)).toEqual(expected)
  }
})
