import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { demo, file, type Outcome } from '../e2e/rnb.ts'
import { canDecode, folderOf, madeUpVideo, releaseEngines, runWithEngines } from './decoding.ts'
import { GPUS, onRealGpus, releaseGpus, runOnGpus, type Step } from './pipelines.ts'

afterAll(() => {
  releaseGpus()
  releaseEngines()
})
setDefaultTimeout(60_000)

const IN_FLIGHT = 3
const oneClip = { num_clips_population: [1], num_clips_weights: [1] }
const loader: Step = {
  model: 'loader',
  queue_groups: [{ gpus: [0], out_queues: [0] }],
  in_flight: IN_FLIGHT,
  ...oneClip,
}
const network: Step = { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] }
const single: Step = { model: 'single', queue_groups: [{ gpus: [0] }], ...oneClip }

/** A pipeline with the demo's network. Returns its file. */
const pipelineOn = (videos: string, steps: readonly Step[]) => {
  const { weights, labels } = demo
  return file('pipeline.json', JSON.stringify({ video_root: videos, weights, labels, pipeline: steps }))
}
const decodersOf = ({ summary }: Outcome) => summary.notes.find(note => note.startsWith('NVDEC decoders'))
const FRAMES = 30

describe.skipIf(!canDecode)('the warm-up of what decodes on a GPU', () => {
  test.each([
    // Without it, one request would have one decoder made, and reused by none.
    ['loader', [loader, network], IN_FLIGHT],
    ['single', [single], 1],
  ])('%s: makes a decoder for each thread, which the run then finds', async (_, steps, decoders) => {
    const videos = folderOf({ 'a.webm': await madeUpVideo(FRAMES) })
    const { outcome, counts } = await runWithEngines(pipelineOn(videos, steps), ['-v', '1'])
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    expect(outcome.results.map(({ decoder }) => decoder)).toEqual(['nvdec'])
    expect(decodersOf(outcome)).toEqual(
      `NVDEC decoders of gpu 0: ${decoders} made, 1 times reused (0 with another size), 0 evicted`,
    )
    expect(counts).toMatchObject({ decodersMade: decoders, decodersDestroyed: decoders, misuse: 0 })
    expect(counts.mapped).toBe(counts.unmapped)
  })

  test('leaves it to the run to say what is wrong with a video', async () => {
    const ERROR = 2
    const videos = folderOf({ 'bad.webm': await madeUpVideo(FRAMES, {}, () => ERROR) })
    const { outcome } = await runWithEngines(pipelineOn(videos, [loader, network]), ['-v', '2'])
    expect(outcome.summary.exit.reason).toBe('all_failed')
    expect(outcome.errors.map(({ id, code }) => [id, code])).toEqual([
      [0, 'damaged'],
      [1, 'damaged'],
    ])
  })

  test('ends the run, naming the step, if it fails for another reason', async () => {
    const videos = folderOf({ 'a.webm': await madeUpVideo(FRAMES) })
    const { outcome } = await runWithEngines(pipelineOn(videos, [loader, network]), ['-v', '1'], {
      FAKE_NVDEC_MAKES_NONE: '1',
    })
    expect(outcome.status).toBe(1)
    expect(outcome.summary.exit.message).toMatch(
      /^step 0 \(loader\) on gpu 0, replica 0, worker \d failed: libnvcuvid: cuvidCreateDecoder/,
    )
  })
})

test.skipIf(GPUS === 0 || onRealGpus)('what a warm-up uploads is not counted', async () => {
  const uploaded = async (in_flight: number) => {
    const config = pipelineOn(demo.videos, [{ ...loader, in_flight }, network])
    const { status, stderr, summary } = await runOnGpus(config, ['-v', '2'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return summary.copies!.find(({ path }) => path === 'upload')!.bytes
  }
  expect(await uploaded(IN_FLIGHT)).toBe(await uploaded(1))
})
