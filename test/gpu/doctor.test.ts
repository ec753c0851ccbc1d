import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { demo, file, rnb, scratch } from '../e2e/rnb.ts'
import { forTheseGpus, GPUS, gpuEnv, onRealGpus, releaseGpus } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(60_000)

interface Report {
  ok: boolean
  gpus: { index: number; uuid: string; peers: number[]; nvdec: unknown[]; free_bytes: number }[]
  findings: { what: string; ok: boolean; optional?: boolean; detail: string }[]
}

async function doctor(args: readonly string[] = [], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = await rnb(['doctor', '--json', ...args], {
    env: { ...gpuEnv(), FAKE_GPUS: '1', ...env },
  })
  if (stdout === '') throw new Error(stderr)
  const report = JSON.parse(stdout) as Report
  return { status, ...report, find: (what: string) => report.findings.find(finding => finding.what === what) }
}

const config = (keys: object = {}, gpu = 0): string =>
  forTheseGpus([
    { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
    { model: 'network', queue_groups: [{ gpus: [gpu], in_queue: 0 }], ...keys },
  ])

describe.skipIf(GPUS === 0)('doctor on GPUs', () => {
  test('finds them in order, and the pipeline too', async () => {
    const path = config()
    const { status, ok, gpus, findings, find } = await doctor(['-c', path, '--share-gpu'], {
      FAKE_GPUS: String(GPUS),
    })
    expect({ status, bad: findings.filter(finding => !finding.ok && !finding.optional) }).toEqual({
      status: 0,
      bad: [],
    })
    expect(ok).toBe(true)
    expect(gpus).toHaveLength(GPUS)
    for (const { index, peers } of gpus) {
      expect(peers).not.toContain(index)
      if (!onRealGpus) expect(find(`gpu ${index} from gpu ${1 - index}`)!.detail).toBe('peer to peer')
      for (const kernels of ['cuDNN', 'own kernels'])
        expect(find(`gpu ${index}, ${kernels}`)).toMatchObject({
          ok: true,
          detail: expect.stringMatching(/^right results by .*fp16 \d/),
        })
    }
    expect(find(`pipeline ${path}`)!.ok).toBe(true)
    expect(find('its videos')!.detail).toContain('h264 (16 files): ')
    expect(find('its memory on gpu 0')!.ok).toBe(true)
  })

  const missing = (): string =>
    file(
      'missing.json',
      JSON.stringify({
        weights: demo.weights,
        pipeline: [
          { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
          { model: 'network', queue_groups: [{ gpus: [GPUS], in_queue: 0 }] },
        ],
      }),
    )
  const text = (): string => file('not-a-video.mp4', 'text')
  test.each([
    ['a GPU that is not there', missing, () => [], 'but there '],
    ['too little memory', config, () => ['-b', '30000'], 'lower the batch size (-b)'],
    ['videos that nothing can read', config, () => ['--video-root', text()], 'none of 1 files'],
  ] as const)('%s: exit 1, and why', async (_, path, args, why) => {
    const { status, findings } = await doctor(['-c', path(), '--share-gpu', ...args()])
    expect(status).toBe(1)
    expect(findings.filter(({ ok, detail }) => !ok && detail.includes(why))).toHaveLength(1)
  })
})

describe.skipIf(onRealGpus || GPUS === 0)('doctor on stand-ins', () => {
  test('names the process that uses a GPU', async () => {
    const path = config()
    const busy = await doctor(['-c', path], { FAKE_GPU_USER: '77' })
    expect(busy.status).toBe(1)
    expect(busy.find(`pipeline ${path}`)!.detail).toContain('gpu 0 is in use by process 77')
  })

  test('a cuDNN, or a kernel, that computes wrong results is named with what to do', async () => {
    const cudnn = await doctor([], { FAKE_CUDNN_WRONG: '1' })
    expect(cudnn.status).toBe(1)
    expect(cudnn.find('gpu 0, cuDNN')).toMatchObject({
      ok: false,
      detail: expect.stringMatching(
        /^wrong results in fp16 by cuDNN 9\.19\.0 \(.*\): .* install another cuDNN 9/,
      ),
    })
    const kernels = await doctor([], { FAKE_WRONG_KERNELS: '1', FAKE_NO_PEER: '1', FAKE_GPUS: '2' })
    expect(kernels.find('gpu 0, own kernels')).toMatchObject({ ok: false, optional: true })
    expect(kernels.status).toBe(0)
    // These do not reach each other, either.
    expect(kernels.find('gpu 0 from gpu 1')!.detail).toBe('through pinned memory of the host')
    expect(kernels.gpus.map(({ peers }) => peers)).toEqual([[], []])
  })

  test('without cuDNN own kernels do, unless the pipeline asks for it', async () => {
    const env = { RNB_CUDNN_DIR: scratch() }
    expect((await doctor(['-c', config()], env)).status).toBe(0)
    const path = config({ kernels: 'cudnn' })
    const asked = await doctor(['-c', path], env)
    expect(asked.status).toBe(1)
    expect(asked.find(`pipeline ${path}`)!.detail).toContain('cuDNN')
  })
})
