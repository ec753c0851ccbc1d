/**
 * Clips per second of r2plus1d_18 on the CPU, and how long making the network and its session takes.
 *
 *     bun bench/network.ts [--json] [--repeats N] [--note TEXT] [--save]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/network-DATE.json. Each
 * figure is of calls of the whole network on clips of 112 x 112, one after the other from one thread, after a cold one.
 * `cpuMs` is the processor time of all threads for a call: on a machine that does other things too, it tells more than
 * the time that passed. GFLOP/s count a multiplication and an addition as two, 40.52 G for 8 frames.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { median, min } from 'simple-statistics'
import { monotonicNs } from '../ffi/libc.ts'
import { onnxRuntime } from '../ffi/onnxruntime.ts'
import { R2PLUS1D_18 } from '../models/architecture.ts'
import { joined } from '../models/onnx/protobuf.ts'
import { writeOnnx } from '../models/onnx/write.ts'
import { seededNetwork } from '../models/seeded.ts'

const SIZE = 112
const GFLOP_PER_FRAME = 40.52 / 8
/** Measured for DESIGN, 16 frames, one clip, 2 threads. */
const DESIGN_MS = 448

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    json: { type: 'boolean' },
    save: { type: 'boolean' },
    /** What a reader should know of the conditions. */
    note: { type: 'string' },
    repeats: { type: 'string', default: '5' },
  },
})
const repeats = Number(options.repeats)

interface Row {
  frames: number
  threads: number
  spin: boolean
  clips: number
  medianMs: number
  leastMs: number
  cpuMs: number
  clipsPerS: number
  gflops: number
}

/** Milliseconds since `start`, on the monotonic clock. */
const since = (start: number): number => (monotonicNs() - start) / 1e6

const started = monotonicNs()
const network = seededNetwork(R2PLUS1D_18, 1)
const seedingMs = since(started)
const rows: Row[] = []
const sessionMs: number[] = []

function measure(frames: number, threads: number, spin: boolean, counts: readonly number[]): void {
  const clip = { frames, height: SIZE, width: SIZE }
  const start = monotonicNs()
  const { model, initializers } = writeOnnx(network, { startIndex: 1, endIndex: 5, clip, weights: 'outside' })
  const session = onnxRuntime().session(joined(model), { threads, spin, initializers })
  sessionMs.push(since(start))
  for (const clips of counts) {
    const shape = [clips, 3, frames, SIZE, SIZE]
    const data = new Float32Array(clips * 3 * frames * SIZE * SIZE).map((_, i) => Math.sin(i))
    const input = [{ name: 'input', shape, data }]
    const logits = new Float32Array(clips * R2PLUS1D_18.classes)
    const output = [{ name: 'output', shape: [clips, R2PLUS1D_18.classes], data: logits }]
    session.run(input, output)
    const cpu = process.cpuUsage()
    const times = Array.from({ length: repeats }, () => {
      const before = monotonicNs()
      session.run(input, output)
      return since(before)
    })
    const used = process.cpuUsage(cpu)
    const leastMs = min(times)
    rows.push({
      frames,
      threads,
      spin,
      clips,
      medianMs: median(times),
      leastMs,
      cpuMs: (used.user + used.system) / 1e3 / repeats,
      clipsPerS: (1000 * clips) / median(times),
      gflops: (clips * frames * GFLOP_PER_FRAME) / (leastMs / 1e3),
    })
  }
  session.close()
}

const load = loadavg()[0]!
for (const frames of [8, 16]) {
  for (const threads of [1, 2]) measure(frames, threads, false, [1, 2, 4])
}
measure(8, 2, true, [1])
measure(16, 2, true, [1])

const result = {
  benchmark: 'network',
  date: new Date().toISOString(),
  machine: { cpu: cpus()[0]?.model.trim(), cores: cpus().length, loadBefore: load, loadAfter: loadavg()[0] },
  versions: { bun: Bun.version, onnxruntime: onnxRuntime().version },
  command: `bun bench/network.ts ${process.argv.slice(2).join(' ')}`.trim(),
  note: options.note,
  network: 'r2plus1d_18 (torchvision layout), random weights, float32',
  designMs: DESIGN_MS,
  seedingMs,
  sessionMs: median(sessionMs),
  rows,
}

const json = `${JSON.stringify(result, null, 2)}\n`
console.log(json.trimEnd())
if (options.save) {
  const folder = join(import.meta.dir, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `network-${result.date.slice(0, 10)}.json`), json)
}
if (!options.json) {
  const line = (cells: (string | number)[]) =>
    console.error(cells.map(cell => String(cell).padStart(9)).join(''))
  line(['frames', 'threads', 'spin', 'clips', 'ms', 'least ms', 'cpu ms', 'clips/s', 'GFLOP/s'])
  for (const r of rows) {
    const { frames, threads, spin, clips } = r
    const figures = [r.medianMs, r.leastMs, r.cpuMs, r.clipsPerS, r.gflops].map(n => n.toFixed(1))
    line([frames, threads, spin ? 'yes' : 'no', clips, ...figures])
  }
  console.error(`random weights ${seedingMs.toFixed(0)} ms, a session ${result.sessionMs.toFixed(0)} ms`)
  console.error(`DESIGN measured ${DESIGN_MS} ms for one clip of 16 frames with 2 threads`)
}
