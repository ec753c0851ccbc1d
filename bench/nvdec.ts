/**
 * Frames per second through NVDEC by number of decoding threads, against a plain C program in the same run.
 *
 *     bun bench/nvdec.ts [--json] [--save] [--peak PROGRAM] [--decoders 1,7,14,21] [--rounds N] [--seconds S]
 *                        [--modes decode,clips,demux] [--group N] [--delay N] [FILE...]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/nvdec-DATE.json. Each
 * thread is a worker with a decoder of one shared pool, and decodes all frames of the file again and again, all mapped:
 * `decode` from packets in memory, as the C program does; `clips` makes each frame part of a clip tensor, too; `demux`
 * also reads the packets from the container each time. PROGRAM takes an elementary stream, a number of decoders, how
 * often to decode it, and nvcuvid's number of the codec, and prints an object with `fps`. Sides and modes take turns,
 * every other round backwards; figures are medians over rounds. Files default to test videos beside the repository.
 */
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { cudaDriver } from '../ffi/cuda/driver.ts'
import { ElementaryStreamWriter } from '../src/video/nvdec/annex-b.ts'
import { NVDEC_CODECS } from '../src/video/nvdec/capabilities.ts'
import { DecoderPool } from '../src/video/nvdec/pool.ts'
import { openVideo } from '../src/video/open.ts'
import type { Answer, Job, Mode, Settings } from './nvdec-worker.ts'

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: {
    json: { type: 'boolean' },
    save: { type: 'boolean' },
    peak: { type: 'string' },
    decoders: { type: 'string', default: '1,7,14,21' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1.5' },
    modes: { type: 'string', default: 'decode,clips,demux' },
    group: { type: 'string', default: '4' },
    delay: { type: 'string', default: '2' },
  },
  allowPositionals: true,
})
const videos = join(import.meta.dir, '../../shared/videos')
const files =
  positionals.length > 0
    ? positionals
    : ['kinetics-340x256-h264.mp4', 'kinetics-340x256-hevc.mp4', 'phone-1920x1080-h264.mp4'].map(name =>
        join(videos, name),
      )
const decoders = options.decoders.split(',').map(Number)
const modes = options.modes.split(',') as Mode[]
const rounds = Number(options.rounds)
const seconds = Number(options.seconds)

const driver = cudaDriver()
if (!driver || driver.devices.length === 0) {
  console.error('skipped: there is no NVIDIA GPU')
  process.exit(0)
}

const pool = DecoderPool.create(Math.max(...decoders) + 4)
const settings: Settings = { pool, group: Number(options.group), displayDelay: Number(options.delay) }
const threads: Worker[] = []
const folder = mkdtempSync(join(tmpdir(), 'rnb-nvdec-'))

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Frames per second of `count` threads from one start to the last finish. */
async function ours(path: string, count: number, mode: Mode, repeats: number): Promise<number> {
  const gate = new SharedArrayBuffer(8)
  const words = new Int32Array(gate)
  const answers = Array.from({ length: count }, async (_, i) => {
    threads[i] ??= new Worker(new URL('./nvdec-worker.ts', import.meta.url), { workerData: settings })
    threads[i].postMessage({ path, mode, repeats, gate } satisfies Job)
    const [answer] = (await once(threads[i], 'message')) as [Answer | { error: string }]
    if ('error' in answer) throw new Error(answer.error)
    return answer
  })
  const all = Promise.all(answers)
  const failed = all.catch(() => undefined)
  while (Atomics.load(words, 0) < count) {
    // A thread that failed will not come.
    if ((await Promise.race([failed, Bun.sleep(2).then(() => true)])) === undefined) break
  }
  Atomics.store(words, 1, 1)
  Atomics.notify(words, 1)
  const done = await all
  const start = Math.min(...done.map(answer => answer.startNs))
  const end = Math.max(...done.map(answer => answer.endNs))
  return done.reduce((sum, { frames }) => sum + frames, 0) / ((end - start) / 1e9)
}

/** The file's elementary stream, for the C program. */
async function elementaryStream(path: string): Promise<{ file: string; codec: number; frames: number }> {
  const video = await openVideo(path)
  const writer = new ElementaryStreamWriter(video.info)
  const parts: Uint8Array[] = []
  const wanted = Array.from({ length: video.frames }, (_, index) => index)
  for await (const { data } of video.packets(wanted))
    parts.push(writer.write(data, parts.length === 0).slice())
  video.close()
  const file = join(folder, `${basename(path)}.${video.info.codec}`)
  writeFileSync(file, Buffer.concat(parts))
  return { file, codec: NVDEC_CODECS[video.info.codec]!, frames: video.frames }
}

async function theirs(stream: string, count: number, repeats: number, codec: number): Promise<number> {
  const { stdout, stderr, exitCode } = Bun.spawnSync([
    options.peak!,
    stream,
    String(count),
    String(repeats),
    String(codec),
  ])
  if (exitCode !== 0) throw new Error(`${options.peak}: ${stderr}`)
  return (JSON.parse(stdout.toString()) as { fps: number }).fps
}

interface Row {
  file: string
  decoders: number
  repeats: number
  peakFps?: number
  fps: Partial<Record<Mode, number>>
  /** Of `decode` to the C program's. */
  ratio?: number
}

async function measure(path: string): Promise<Row[]> {
  const stream = await elementaryStream(path)
  // What one thread does alone says how long a round takes; all together are a few times as fast.
  const alone = await ours(path, 1, 'decode', 1)
  const rows: Row[] = []
  for (const count of decoders) {
    const speed = alone * Math.min(count, 6)
    const repeats = Math.max(1, Math.round((seconds * speed) / (stream.frames * count)))
    const peak: number[] = []
    const seen = new Map<Mode, number[]>(modes.map(mode => [mode, []]))
    for (let round = 0; round < rounds; round++) {
      const turns = [
        async () => {
          if (options.peak) peak.push(await theirs(stream.file, count, repeats, stream.codec))
        },
        ...modes.map(mode => async () => {
          seen.get(mode)!.push(await ours(path, count, mode, repeats))
        }),
      ]
      for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn()
    }
    const fps: Row['fps'] = {}
    for (const mode of modes) fps[mode] = Math.round(median(seen.get(mode)!))
    const row: Row = { file: basename(path), decoders: count, repeats, fps }
    if (options.peak) {
      row.peakFps = Math.round(median(peak))
      if (fps.decode) row.ratio = fps.decode / row.peakFps
    }
    rows.push(row)
    if (!options.json) console.error(line(row))
  }
  return rows
}

const cell = (value: number | undefined, width: number, digits = 0) =>
  (value === undefined ? '-' : value.toFixed(digits)).padStart(width)
const line = ({ file, decoders, peakFps, fps, ratio }: Row) =>
  `${file.padEnd(28)} ${cell(decoders, 8)} ${cell(peakFps, 8)} ${cell(fps.decode, 8)} ${cell(ratio, 6, 3)} ` +
  `${cell(fps.clips, 8)} ${cell(fps.demux, 8)}`

const results: Row[] = []
try {
  if (!options.json) {
    console.error('frames/s'.padEnd(28), 'decoders   plain C   decode  ratio    clips    demux')
  }
  for (const path of files) {
    if (existsSync(path)) results.push(...(await measure(path)))
    else console.error(`skipped: there is no ${basename(path)}`)
  }
} finally {
  rmSync(folder, { recursive: true })
}
const report = {
  benchmark: 'nvdec',
  command: ['bun bench/nvdec.ts', ...process.argv.slice(2).map(argument => basename(argument))].join(' '),
  date: new Date().toISOString(),
  machine: {
    gpu: driver.devices[0]!.name,
    driver: driver.version,
    processor: cpus()[0]?.model,
    threads: cpus().length,
    load: loadavg(),
  },
  versions: { bun: Bun.version },
  decoders: new DecoderPool(pool).counts,
  rounds,
  results,
}
const text = `${JSON.stringify(report, null, 1)}\n`
if (options.save) {
  const place = join(import.meta.dir, 'results')
  mkdirSync(place, { recursive: true })
  writeFileSync(join(place, `nvdec-${report.date.slice(0, 10)}.json`), text)
}
process.stdout.write(text)
process.exit(0)
