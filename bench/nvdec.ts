/**
 * Frames per second through NVDEC by number of decoding threads, against a plain C program in the same run.
 *
 *     bun bench/nvdec.ts [--json] [--save] [--peak PROGRAM] [--decoders 1,7,14,21] [--rounds N] [--seconds S]
 *                        [--modes decode,clips,demux] [--group N] [--delay N] [FILE...]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/nvdec-DATE.json, after each
 * row. Each thread is a worker with a decoder of one shared pool, and decodes all frames of the file again and again.
 *
 * PROGRAM takes an elementary stream, a number of decoders, how often each is to decode it, and nvcuvid's number of the
 * codec; it maps every frame, and prints an object with `fps`, from the first start to the last finish. `same` is ours
 * measured in that way, from packets in memory, with as many repeats, and the ratio is of these two. That way counts the
 * time in which some threads are done and others are not against both, and more so in short runs.
 *
 * The modes are sustained rates: frames of all threads counted for S seconds while all decode, which is what a loader
 * with a queue of videos gets, and no fair match for the C program's figure. `decode` does as `same`; `clips` makes each
 * frame part of a clip tensor, too; `demux` also reads the packets from the container each time. Sides and modes take
 * turns, every other round backwards; figures are medians over rounds. Files default to test videos beside the
 * repository.
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
import { BOARD_WORDS, FRAMES, GO, STOP, WARM } from './nvdec-board.ts'
import type { Answer, Job, Mode, Settings } from './nvdec-worker.ts'

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: {
    json: { type: 'boolean' },
    save: { type: 'boolean' },
    peak: { type: 'string' },
    decoders: { type: 'string', default: '1,7,14,21' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
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

/** Has `count` threads decode, from when all of them are warm: `meanwhile` measures, or the threads do. */
async function together<T>(
  job: Omit<Job, 'board'>,
  count: number,
  meanwhile: (board: Int32Array, pause: (ms: number) => Promise<void>) => Promise<T>,
): Promise<{ measured: T; answers: Answer[] }> {
  const board = new SharedArrayBuffer(4 * BOARD_WORDS)
  const words = new Int32Array(board)
  const all = Promise.all(
    Array.from({ length: count }, async (_, i) => {
      threads[i] ??= new Worker(new URL('./nvdec-worker.ts', import.meta.url), { workerData: settings })
      threads[i].postMessage({ ...job, board } satisfies Job)
      const [answer] = (await once(threads[i], 'message')) as [Answer | { error: string }]
      if ('error' in answer) throw new Error(answer.error)
      return answer
    }),
  )
  // A thread that fails ends the wait for it.
  const pause = async (ms: number) => {
    await Promise.race([all, Bun.sleep(ms)])
  }
  while (Atomics.load(words, WARM) < count) await pause(5)
  Atomics.store(words, GO, 1)
  Atomics.notify(words, GO)
  const measured = await meanwhile(words, pause)
  return { measured, answers: await all }
}

/** Threads decode without pause; counts the frames of some time in the middle. */
async function sustained(path: string, count: number, mode: Mode): Promise<Speed> {
  const { measured } = await together({ path, mode }, count, async (words, pause) => {
    const [before, cpu, start] = [Atomics.load(words, FRAMES), process.cpuUsage(), monotonicNs()]
    await pause(seconds * 1e3)
    const [after, { user, system }] = [Atomics.load(words, FRAMES), process.cpuUsage(cpu)]
    const elapsed = (monotonicNs() - start) / 1e9
    Atomics.store(words, STOP, 1)
    return { fps: (after - before) / elapsed, cores: (user + system) / 1e6 / elapsed }
  })
  return measured
}

/** As the C program measures: each thread decodes the file so often, from the first start to the last finish. */
async function sameWay(path: string, count: number, repeats: number, frames: number): Promise<number> {
  const { answers } = await together({ path, mode: 'decode', repeats }, count, async () => undefined)
  const start = Math.min(...answers.map(answer => answer.startNs))
  const end = Math.max(...answers.map(answer => answer.endNs))
  return Math.round((count * repeats * frames) / ((end - start) / 1e9))
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
  /** How often each thread decodes the file in `peakFps` and `sameFps`. */
  repeats: number
  /** The C program's, and ours measured in the same way: medians, and each round's. */
  peakFps?: number
  peakRounds: number[]
  sameFps: number
  sameRounds: number[]
  /** Of `sameFps` to the C program's. */
  ratio?: number
  /** Sustained, by mode: medians, and each round's. */
  fps: Partial<Record<Mode, number>>
  rounds: Partial<Record<Mode, Speed[]>>
}

async function measure(path: string): Promise<void> {
  const stream = await elementaryStream(path)
  for (const count of decoders) {
    const peak: number[] = []
    const same: number[] = []
    const rounds: Row['rounds'] = Object.fromEntries(modes.map(mode => [mode, []]))
    // How often to decode the file follows from how fast that is.
    const { fps: speed } = await sustained(path, count, 'decode')
    const repeats = Math.max(1, Math.round((seconds * speed) / (stream.frames * count)))
    const turns = [
      async () => {
        if (options.peak) peak.push(Math.round(await theirs(stream.file, count, repeats, stream.codec)))
      },
      async () => {
        same.push(await sameWay(path, count, repeats, stream.frames))
      },
      ...modes.map(mode => async () => {
        rounds[mode]!.push(await sustained(path, count, mode))
      }),
    ]
    for (let round = 0; round < roundCount; round++) {
      for (const turn of round % 2 === 0 ? turns : [...turns].reverse()) await turn()
    }
    const fps: Row['fps'] = {}
    for (const mode of modes) fps[mode] = Math.round(median(rounds[mode]!.map(round => round.fps)))
    const row: Row = {
      file: basename(path),
      decoders: count,
      repeats,
      peakRounds: peak,
      sameFps: median(same),
      sameRounds: same,
      fps,
      rounds,
    }
    if (options.peak) {
      row.peakFps = median(peak)
      row.ratio = row.sameFps / row.peakFps
    }
    results.push(row)
    if (!options.json) console.error(line(row))
    save()
  }
}

const cell = (value: number | undefined, width: number, digits = 0) =>
  (value === undefined ? '-' : value.toFixed(digits)).padStart(width)
const line = ({ file, decoders, peakFps, sameFps, fps, ratio, rounds }: Row) =>
  `${file.padEnd(28)} ${cell(decoders, 8)} ${cell(peakFps, 8)} ${cell(sameFps, 8)} ${cell(ratio, 6, 3)} ` +
  `${cell(fps.decode, 8)} ${cell(fps.clips, 8)} ${cell(fps.demux, 8)} ${cell(rounds[modes[0]!]?.at(-1)?.cores, 6, 1)}`

const date = new Date().toISOString()
const results: Row[] = []

/** All that has been measured. */
const report = () => ({
  benchmark: 'nvdec',
  command: ['bun bench/nvdec.ts', ...process.argv.slice(2).map(argument => basename(argument))].join(' '),
  date,
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
})
const text = () => `${JSON.stringify(report(), null, 1)}\n`

/** After each row, so that a run that is cut off leaves what it has seen. */
function save(): void {
  if (!options.save) return
  const place = join(import.meta.dir, 'results')
  mkdirSync(place, { recursive: true })
  writeFileSync(join(place, `nvdec-${date.slice(0, 10)}.json`), text())
}

try {
  if (!options.json) {
    const columns = 'decoders  plain C     same  ratio   decode    clips    demux  cores'
    console.error('frames/s'.padEnd(28), columns)
  }
  for (const path of files) {
    if (existsSync(path)) await measure(path)
    else console.error(`skipped: there is no ${basename(path)}`)
  }
} finally {
  rmSync(folder, { recursive: true })
}
process.stdout.write(text())
process.exit(0)
