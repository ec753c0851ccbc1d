import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, file, scratch } from '../e2e/rnb.ts'
import { forTheseGpus, GPUS, onRealGpus, PREPROCESSING, releaseGpus, runOnGpus } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(60_000)

const FLAGS = ['-v', '8', '-mi', '0']
const oneClip = { num_clips_population: [1], num_clips_weights: [1] }
const STEPS = [
  { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }], ...oneClip },
  { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
]

test.skipIf(GPUS === 0)(
  'a GPU that is not there is wrong use, and its place in the file is named',
  async () => {
    const [load, classify] = STEPS
    const far = {
      video_root: demo.videos,
      pipeline: [load, { ...classify, queue_groups: [{ gpus: [0, 99], in_queue: 0 }] }],
    }
    const { status, stderr, stdout } = await runOnGpus(file('far.json', JSON.stringify(far)), FLAGS)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(/pipeline\[1\]\.queue_groups\[0\]\.gpus\[1\] is 99, but there (is|are) \d+ GPUs?/)
  },
)

describe.skipIf(GPUS === 0)('too little memory on a GPU', () => {
  test.each([
    [
      'a network step',
      STEPS,
      ['-b', '30000'],
      /step 1 \(network\) on gpu 0, replica 0 failed: .*CUDA_ERROR_OUT_OF_MEMORY.*activations of 30000 clips \(layers 1 to 5\) takes \d+\.\d MiB, and \d+\.\d MiB of \d+\.\d MiB is free; lower the batch size \(-b\)/,
    ],
    [
      'slots',
      [{ ...STEPS[0]!, num_shared_tensors: 200_000 }, STEPS[1]!],
      [],
      /CUDA_ERROR_OUT_OF_MEMORY.*200000 output slots of step 0 \(loader\) on gpu 0, replica 0 takes \d+\.\d MiB, and \d+\.\d MiB of \d+\.\d MiB is free; lower num_shared_tensors/,
    ],
  ])('%s: what it was for, how much there was, what to lower', async (_, steps, flags, said) => {
    const { status, stderr } = await runOnGpus(forTheseGpus(steps), [...FLAGS, ...flags])
    expect(stderr).toMatch(said)
    expect(status).toBe(1)
  })
})

/** A step that has its GPU write where there is nothing, for one of its videos. */
const FAULTY = `
  import ptx from './faulty.ptx' with { type: 'text' }
  export default class Faulty {
    constructor(context) {
      this.gpu = context.gpu
      this.kernel = context.gpu.load(ptx).kernel('faulty', ['u32'])
      this.left = 3
    }
    run() {
      this.kernel.launch({ blocks: 1, threads: 1 }, this.left-- === 0 ? 1 : 0)
      this.gpu.synchronize()
      return { values: [1] }
    }
  }`
const FAULTY_PTX = `
.version 7.0
.target sm_80
.address_size 64
.visible .entry faulty(.param .u32 really)
{
  .reg .pred %p;
  .reg .b32 %r;
  .reg .b64 %a;
  ld.param.u32 %r, [really];
  setp.eq.u32 %p, %r, 0;
  @%p ret;
  mov.u64 %a, 64;
  st.global.u32 [%a], %r;
  ret;
}
`

describe.skipIf(!onRealGpus || GPUS === 0)('a kernel that goes wrong on a GPU', () => {
  test('ends the run with the step named, its results so far kept', async () => {
    const folder = scratch()
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'faulty.ts'), FAULTY)
    writeFileSync(join(folder, 'faulty.ptx'), FAULTY_PTX)
    const pipeline = [
      { ...STEPS[0], ...PREPROCESSING },
      { model: './faulty.ts', queue_groups: [{ gpus: [0], in_queue: 0 }] },
    ]
    const path = join(folder, 'pipeline.json')
    writeFileSync(path, JSON.stringify({ video_root: demo.videos, pipeline }))
    const outcome = await runOnGpus(path, FLAGS)
    expect(outcome.status).toBe(1)
    expect(outcome.summary.exit).toMatchObject({ status: 1, reason: 'failed' })
    expect(outcome.summary.exit.message).toMatch(
      /^step \d \(.*\) on gpu 0, .*failed: gpu 0 is lost to this run.*1 \(\.\/faulty\.ts\).*CUDA_ERROR_ILLEGAL_ADDRESS/,
    )
    expect(outcome.results).toHaveLength(3)
  })
})

const STICKY = { ECC_UNCORRECTABLE: 214, ILLEGAL_ADDRESS: 700, LAUNCH_FAILED: 719 }

// Where a stand-in's third call of a kind goes wrong, in the order of a run: warm-up, then the videos.
describe.skipIf(onRealGpus || GPUS === 0)('a GPU that fails, by a stand-in', () => {
  const config = GPUS > 0 ? forTheseGpus(STEPS) : ''
  const withFault = (call: string, after: number, status: number) =>
    runOnGpus(config, FLAGS, { FAKE_FAULT: `${call} ${after} ${status}` })

  test.each(Object.entries(STICKY))(
    '%s of a batch: step, GPU and status are named, results kept',
    async (name, status) => {
      const outcome = await withFault('cuGraphLaunch', 4, status)
      expect(outcome.status).toBe(1)
      const { exit, requests } = outcome.summary
      expect(exit).toMatchObject({ status: 1, reason: 'failed' })
      expect(exit.message).toMatch(
        /^step [01] \((loader|network)\) on gpu 0, replica 0.* failed: gpu 0 is lost to this run/,
      )
      expect(exit.message).toContain('0 (loader), 1 (network)')
      expect(exit.message).toContain(`CUDA_ERROR_${name} (${status})`)
      // Two batches are under way at most: of the four before, two at least are there.
      expect(requests.completed).toBeGreaterThanOrEqual(2)
      expect(outcome.results).toHaveLength(requests.completed)
    },
  )

  const calls: [call: string, after: number][] = [
    ['cuModuleLoadDataEx', 0],
    ['cuMemcpyHtoDAsync_v2', 0],
    ['cuMemcpyHtoDAsync_v2', 40],
    ['cudnnBackendExecute', 3],
    ['cuEventSynchronize', 2],
    ['cuLaunchKernel', 1],
    ['cuMemcpyDtoDAsync_v2', 2],
    ['cuMemcpyDtoHAsync_v2', 2],
    ['cuEventRecord', 30],
    ['cuStreamWaitEvent', 9],
  ]
  test.each(calls)('at %s, call %i: the run ends with a step named', async (call, after) => {
    const outcome = await withFault(call, after, STICKY.ILLEGAL_ADDRESS)
    expect(outcome.status).toBe(1)
    expect(outcome.summary.exit.reason).toBe('failed')
    expect(outcome.summary.exit.message).toMatch(/^step [01] \((loader|network)\) on gpu 0/)
    expect(outcome.summary.exit.message).toContain('CUDA_ERROR_ILLEGAL_ADDRESS')
  })
})
