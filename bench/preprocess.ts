/**
 * Microseconds to turn one decoded frame into one frame of a 112x112 clip tensor, on one thread.
 *
 *     bun bench/preprocess.ts [--json] > bench/results/preprocess.json
 *
 * JSON on stdout, a table on stderr (not with --json). A sample is a clip of eight frames of random samples, each with
 * memory of its own; its median and its lowest are given, since other work on the machine only ever adds. Each case is
 * measured in a fresh thread (`fresh`), and once more in a thread that has worked on all cases before (`mixed`): there
 * the compiler knows that samples may have 8 or 16 bits. The floor is the same taps gathered, and as many values
 * copied, without any arithmetic.
 */
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { median, min } from 'simple-statistics'
import { pixelFormat } from '../src/video/preprocess/formats.ts'
import { gatherRow, type Samples } from '../src/video/preprocess/rows.ts'
import { geometryOf, type Taps } from '../src/video/preprocess/taps.ts'
import { defaultPreprocessing, type Formula, preprocess, type Rotation } from '../src/video/preprocess.ts'
import type { Frame } from '../src/video/types.ts'

interface Case {
  format: string
  width: number
  height: number
  rotation: Rotation
  formula: Formula
}
interface Timing {
  medianUs: number
  lowestUs: number
}

const SIZE = 112
const CLIP = 8
const SAMPLES = 200
/** Enough for the compiler to have settled on every loop. */
const WARM_UP = 150

const SOURCES: Omit<Case, 'formula'>[] = [
  { format: 'yuv420p', width: 340, height: 256, rotation: 0 },
  { format: 'yuv420p', width: 340, height: 256, rotation: 90 },
  { format: 'nv12', width: 340, height: 256, rotation: 0 },
  { format: 'yuv420p10le', width: 340, height: 256, rotation: 0 },
  { format: 'yuv444p', width: 1280, height: 720, rotation: 0 },
  { format: 'yuv420p', width: 1920, height: 1080, rotation: 0 },
  { format: 'rgb24', width: 340, height: 256, rotation: 0 },
]
const CASES: Case[] = SOURCES.flatMap(source => [
  { ...source, formula: 'rnb' },
  { ...source, formula: 'torchvision' },
])

function randomSamples(count: number, depth: number): Uint8Array | Uint16Array {
  const data = depth > 8 ? new Uint16Array(count) : new Uint8Array(count)
  // What getRandomValues gives at once.
  const most = 65536 / data.BYTES_PER_ELEMENT
  for (let i = 0; i < count; i += most) crypto.getRandomValues(data.subarray(i, i + most))
  return data.map(sample => sample % 2 ** depth)
}

function randomFrame({ format, width, height }: Case): Frame {
  const { components, chromaX, chromaY, depth } = pixelFormat(format)
  const planes: Frame['planes'] = []
  components.forEach(({ plane, step }, c) => {
    const stride = Math.ceil(width / 2 ** (c === 0 ? 0 : chromaX)) * step
    const rows = Math.ceil(height / 2 ** (c === 0 ? 0 : chromaY))
    planes[plane] ??= { data: randomSamples(stride * rows, depth), stride }
  })
  return { index: 0, format, width, height, colour: { matrix: 1 }, planes }
}

function time(clip: () => void): Timing {
  for (let i = 0; i < WARM_UP; i++) clip()
  const us = Array.from({ length: SAMPLES }, () => {
    const start = Bun.nanoseconds()
    clip()
    return (Bun.nanoseconds() - start) / 1e3 / CLIP
  })
  return { medianUs: median(us), lowestUs: min(us) }
}

function preprocessing(of: Case): Timing {
  const settings = defaultPreprocessing(of.formula, SIZE)
  const frames = Array.from({ length: CLIP }, () => randomFrame(of))
  const plane = SIZE * SIZE
  const out = new Float32Array(3 * CLIP * plane)
  return time(() => {
    for (let t = 0; t < CLIP; t++) {
      const place = { offset: t * plane, channelStride: CLIP * plane }
      preprocess(frames[t]!, of.rotation, settings, out, place)
    }
  })
}

function floor(of: Case): Timing {
  const format = pixelFormat(of.format)
  const { across, down } = geometryOf(of.formula, SIZE, format, of.width, of.height, of.rotation)
  const clips = Array.from({ length: CLIP }, () => {
    const { planes } = randomFrame(of)
    return format.components.map(({ plane, first }): Samples => ({ ...planes[plane]!, first }))
  })
  const low = new Float64Array(SIZE)
  const high = new Float64Array(SIZE)
  const out = new Float32Array(3 * CLIP * SIZE * SIZE)
  const from = new Float32Array(SIZE)
  // Of rnb the taps of chroma are at the output position, of torchvision around each of two luma rows.
  const chromaAcross: Taps =
    of.formula === 'rnb' ? across.chroma : { ...across.chromaPairs, weight: across.chromaPairs.weightAtLow }
  const chromaDown = of.formula === 'rnb' ? [down.chroma] : [down.chromaAtLow, down.chromaAtHigh]
  return time(() => {
    for (let t = 0; t < CLIP; t++) {
      const [a, b, c] = clips[t] as [Samples, Samples, Samples]
      for (let row = 0; row < SIZE; row++) {
        gatherRow(a, down.luma.low[row]!, across.luma, low, high)
        gatherRow(a, down.luma.high[row]!, across.luma, low, high)
        for (const taps of chromaDown) {
          for (const samples of [b, c]) {
            gatherRow(samples, taps.low[row]!, chromaAcross, low, high)
            gatherRow(samples, taps.high[row]!, chromaAcross, low, high)
          }
        }
        for (let channel = 0; channel < 3; channel++)
          out.set(from, ((channel * CLIP + t) * SIZE + row) * SIZE)
      }
    }
  })
}

/** Runs `job` on these cases, one after another, in a thread of their own. */
function inThread(job: 'preprocessing' | 'floor', cases: Case[]): Promise<Timing[]> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { job, cases } })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

const round = ({ medianUs, lowestUs }: Timing): Timing => ({
  medianUs: Math.round(medianUs * 10) / 10,
  lowestUs: Math.round(lowestUs * 10) / 10,
})

async function main(): Promise<void> {
  const { values: options } = parseArgs({ options: { json: { type: 'boolean' } } })
  const loadBefore = loadavg()[0]
  const mixed = (await inThread('preprocessing', [...CASES, ...CASES])).slice(CASES.length)
  const results = []
  for (const [i, of] of CASES.entries()) {
    const [fresh] = await inThread('preprocessing', [of])
    const [least] = await inThread('floor', [of])
    results.push({ ...of, fresh: round(fresh!), mixed: round(mixed[i]!), floor: round(least!) })
  }
  const report = {
    benchmark: 'preprocess',
    command: 'bun bench/preprocess.ts',
    date: new Date().toISOString(),
    machine: { processor: cpus()[0]?.model, threads: cpus().length, loadBefore },
    versions: { bun: Bun.version },
    unit: 'microseconds a frame',
    size: SIZE,
    results,
  }
  console.log(JSON.stringify(report, null, 1))
  if (options.json) return
  console.error('microseconds a frame, median (lowest)')
  for (const { formula, format, width, height, rotation, fresh, mixed, floor } of results) {
    const what = `${formula} ${format} ${width}x${height}${rotation === 0 ? '' : ` rotated by ${rotation}`}`
    const show = ({ medianUs, lowestUs }: Timing) =>
      `${medianUs.toFixed(0)} (${lowestUs.toFixed(0)})`.padEnd(12)
    console.error(`${what.padEnd(44)} fresh ${show(fresh)} mixed ${show(mixed)} floor ${show(floor)}`)
  }
}

if (isMainThread) await main()
else {
  const { job, cases } = workerData as { job: 'preprocessing' | 'floor'; cases: Case[] }
  parentPort?.postMessage(cases.map(job === 'floor' ? floor : preprocessing))
}
