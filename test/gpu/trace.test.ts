import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cuptiStatus } from '../../ffi/cupti/library.ts'
import { scratch } from '../e2e/rnb.ts'
import { forTheseGpus, GPUS, onRealGpus, releaseGpus, runOnGpus } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(120_000)

const cupti = onRealGpus ? cuptiStatus() : { ok: true as const }
if (!cupti.ok) console.warn(`skipped: traces of GPUs: ${cupti.problem}`)

const VIDEOS = onRealGpus ? 200 : 4

interface Event {
  ph: string
  name: string
  cat?: string
  tid: number
  ts: number
  dur: number
  id?: string
  args: { request?: number; launch?: string; name?: string; bytes?: number }
}

describe.skipIf(GPUS === 0 || !cupti.ok)('traces of GPUs', () => {
  test('have each kernel and copy, on its stream, of its request, within the request’s time in the step', async () => {
    const config = forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
    ])
    const path = join(scratch(), 'trace.json')
    const args = ['-v', String(VIDEOS), '-mi', '0', '--warmup', '0', '--trace', path]
    const { status, stderr, results } = await runOnGpus(config, args)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const { traceEvents, otherData } = JSON.parse(readFileSync(path, 'utf8')) as {
      traceEvents: Event[]
      otherData: { gpu_clock: { error_ns: number; drift_ns: number }; gpu_records_dropped: number }
    }
    expect(otherData.gpu_records_dropped).toBe(0)
    expect(otherData.gpu_clock.error_ns).toBeLessThan(100_000)
    const names = new Map(
      traceEvents.filter(({ name }) => name === 'thread_name').map(({ tid, args }) => [tid, args.name!]),
    )
    const work = traceEvents.filter(({ cat }) => cat === 'gpu').sort((a, b) => a.ts - b.ts)

    // Events of one track do not overlap, and those of a stream are of one thread.
    const ends = new Map<number, number>()
    for (const { tid, ts, dur } of work) {
      expect(ts).toBeGreaterThanOrEqual((ends.get(tid) ?? Number.NEGATIVE_INFINITY) - 0.0015)
      ends.set(tid, ts + dur)
    }

    const stage = new Map<string, { begin: number; end: number }>()
    for (const { ph, name, id, ts } of traceEvents) {
      if (ph !== 'b' && ph !== 'e') continue
      if (!name.endsWith('run')) continue
      const [request, step] = id!.split('.')
      const key = `${request} ${step}`
      const known = stage.get(key) ?? { begin: Number.NaN, end: Number.NaN }
      stage.set(key, ph === 'b' ? { ...known, begin: ts } : { ...known, end: ts })
    }
    let order: (string | undefined)[] | undefined
    for (const { id, clips } of results) {
      const own = work.filter(({ args }) => args.request === id)
      const network = own.filter(({ tid }) => names.get(tid)!.includes('step 1'))
      const launches = network.filter(({ args }) => args.launch !== undefined)
      // The first layer, and what follows the graph.
      expect(launches[0]!.args.launch).toStartWith('stem.')
      expect(launches.at(-1)!.args.launch).toBe('linear')
      order ??= [...new Set(launches.map(({ args }) => args.launch))]
      expect([...new Set(launches.map(({ args }) => args.launch))]).toEqual(order)
      const gathered = network.find(({ name }) => name === 'copy, device to device')
      expect(gathered!.args.bytes).toBe(clips * 8 * 112 * 112 * 8 * 2)
      expect(network.at(-1)!.name).toBe('copy, device to host')
      const loaded = own.filter(({ tid }) => names.get(tid)!.includes('step 0'))
      expect(loaded.some(({ name }) => name === 'clip')).toBe(true)
      // What is asked of a GPU comes after its call began, and logits are there before the step ends.
      const { begin, end } = stage.get(`${id} 1`)!
      expect(network[0]!.ts).toBeGreaterThan(begin)
      expect(network.at(-1)!.ts + network.at(-1)!.dur).toBeLessThan(end)
      expect(loaded[0]!.ts).toBeGreaterThan(stage.get(`${id} 0`)!.begin)
    }
  })

  test('that cannot be written end a run before it begins', async () => {
    const config = forTheseGpus([{ model: 'single', queue_groups: [{ gpus: [0] }] }])
    const { status, stdout, stderr } = await runOnGpus(config, ['-v', '1', '--trace', '/nowhere/trace.json'])
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain('--trace /nowhere/trace.json')
  })

  test.skipIf(onRealGpus)('that nobody may record, or not all of it, are said to be so', async () => {
    const config = forTheseGpus([{ model: 'single', queue_groups: [{ gpus: [0] }] }])
    const trace = () => ['-v', '1', '-mi', '0', '--trace', join(scratch(), 'trace.json')]
    const denied = await runOnGpus(config, trace(), { FAKE_CUPTI_DENIED: '1' })
    expect(denied.status).toBe(0)
    expect(denied.summary.warnings.join()).toContain('CUPTI_ERROR_INSUFFICIENT_PRIVILEGES')
    expect(denied.summary.warnings.join()).toContain('NVreg_RestrictProfilingToAdminUsers=0')
    const dropped = await runOnGpus(config, trace(), { FAKE_CUPTI_DROPS: '17' })
    expect(dropped.status).toBe(0)
    expect(dropped.summary.warnings.join()).toContain('17 records of GPUs were dropped')
    const absent = await runOnGpus(config, trace(), { RNB_CUPTI: '/nowhere/libcupti.so.13' })
    expect(absent.status).toBe(0)
    expect(absent.summary.warnings.join()).toContain('pip install nvidia-cuda-cupti')
  })
})
