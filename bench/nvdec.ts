/**
 * Frames per second through NVDEC by number of decoding threads, against a plain C program in the same run.
 *
 *     bun bench/nvdec.ts [--json] [--save] [--peak PROGRAM] [--decoders 1,7,14,21] [--rounds N] [--seconds S]
 *                        [--modes decode,clips,demux] [--group N] [--delay N] [FILE...]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/nvdec-DATE.json. Each
 * thread is a worker with a decoder of one shared pool, and decodes all frames of the file again and again, all mapped,
 * while the frames of all threads are counted for S seconds:
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
import { monotonicNs } from '../ffi/libc.ts'
import { ElementaryStreamWriter } from '../src/video/nvdec/annex-b.ts'
import { NVDEC_CODECS } from '../src/video/nvdec/capabilities.ts'
import { DecoderPool } from '../src/video/nvdec/pool.ts'
import { openVideo } from '../src/video/open.ts'
import { BOARD_WORDS, FRAMES, STOP, WARM } from './nvdec-board.ts'
import type { Job, Mode, Settings } from './nvdec-worker.ts'

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
const roundCount = Number(options.rounds)
const seconds = Number(options.seconds)

const driver = cudaDriver()
if (!driver || driver.devices.length === 0) {
  console.error('skipped: there is no NVIDIA GPU')
  process.exit(0)
}

const pool = DecoderPool.create((Math.max(...decoders) + 1) * files.length)
const settings: Settings = { pool, group: Number(options.group), displayDelay: Number(options.delay) }
const threads: Worker[] = []
const folder = mkdtempSync(join(tmpdir(), 'rnb-nvdec-'))

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

interface Speed {
  fps: number
  /** Processors that were busy. */
  cores: number
}

/** `count` threads decode without pause; counts the frames of some time in the middle. */
async function ours(path: string, count: number, mode: Mode): Promise<Speed> {
  const board = new SharedArrayBuffer(4 * BOARD_WORDS)
  const words = new Int32Array(board)
  const answers = Array.from({ length: count }, async (_, i) => {
    threads[i] ??= new Worker(new URL('./nvdec-worker.ts', import.meta.url), { workerData: settings })
    threads[i].postMessage({ path, mode, board } satisfies Job)
    const [answer] = (await once(threads[i], 'message')) as [{ error?: string }]
    if (answer.error !== undefined) throw new Error(answer.error)
  })
  const all = Promise.all(answers)
  // Ends before it is told to only by failing.
  const failed = all.then(
    () => true,
    () => true,
  )
  const pause = (ms: number) => Promise.race([failed, Bun.sleep(ms).then(() => false)])
  while (Atomics.load(words, WARM) < count) if (await pause(5)) await all
  const [before, cpu, start] = [Atomics.load(words, FRAMES), process.cpuUsage(), monotonicNs()]
  if (await pause(seconds * 1e3)) await all
  const [after, { user, system }, end] = [Atomics.load(words, FRAMES), process.cpuUsage(cpu), monotonicNs()]
  Atomics.store(words, STOP, 1)
  await all
  const elapsed = (end - start) / 1e9
  return { fps: (after - before) / elapsed, cores: (user + system) / 1e6 / elapsed }
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
  const command = [options.peak!, stream, String(count), String(repeats), String(codec)]
  const { stdout, stderr, exitCode } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${options.peak}: ${stderr}`)
  return (JSON.parse(stdout.toString()) as { fps: number }).fps
}

interface Row {
  file: string
  decoders: number
  peakFps?: number
  /** Of each round, in order. */
  peakRounds?: number[]
  fps: Partial<Record<Mode, number>>
  rounds: Partial<Record<Mode, Speed[]>>
  /** Of `decode` to the C program's. */
  ratio?: number
}

async function measure(path: string): Promise<Row[]> {
  const stream = await elementaryStream(path)
  const rows: Row[] = []
  for (const count of decoders) {
    const peak: number[] = []
    const rounds: Row['rounds'] = Object.fromEntries(modes.map(mode => [mode, []]))
    // How often the C program is to decode the stream is known once we have.
    let repeats = 1
    const turns = [
      ...modes.map(mode => async () => {
        const speed = await ours(path, count, mode)
        repeats = Math.max(1, Math.round((seconds * speed.fps) / (stream.frames * count)))
        rounds[mode]!.push(speed)
      }),
      async () => {
        if (options.peak) peak.push(Math.round(await theirs(stream.file, count, repeats, stream.codec)))
      },
    ]
    await turns[0]!()
    rounds[modes[0]!]!.length = 0
    for (let round = 0; round < roundCount; round++) {
      for (const turn of round % 2 === 0 ? turns : [...turns].reverse()) await turn()
    }
    const fps: Row['fps'] = {}
    for (const mode of modes) fps[mode] = Math.round(median(rounds[mode]!.map(speed => speed.fps)))
    const row: Row = { file: basename(path), decoders: count, fps, rounds }
    if (options.peak) {
      row.peakFps = median(peak)
      row.peakRounds = peak
      if (fps.decode) row.ratio = fps.decode / row.peakFps
    }
    rows.push(row)
    if (!options.json) console.error(line(row))
  }
  return rows
}

const cell = (value: number | undefined, width: number, digits = 0) =>
  (value === undefined ? '-' : value.toFixed(digits)).padStart(width)
const line = ({ file, decoders, peakFps, fps, ratio, rounds }: Row) =>
  `${file.padEnd(28)} ${cell(decoders, 8)} ${cell(peakFps, 8)} ${cell(fps.decode, 8)} ${cell(ratio, 6, 3)} ` +
  `${cell(rounds.decode?.at(-1)?.cores, 6, 1)} ${cell(fps.clips, 8)} ${cell(fps.demux, 8)}`

const results: Row[] = []
try {
  if (!options.json) {
    console.error('frames/s'.padEnd(28), 'decoders  plain C   decode  ratio  cores    clips    demux')
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
  rounds: roundCount,
  seconds,
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
