import { afterAll, onTestFinished, setDefaultTimeout } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as v from 'valibot'
import { type ErrorLine, lineSchema, type ResultLine, type SummaryLine } from '../../src/results/schema.ts'

/** A program that hangs is killed then: before its test times out, so that what it said is there to read. */
const HANG_MS = 45_000
setDefaultTimeout(60_000)

export const root = fileURLToPath(new URL('../..', import.meta.url))
/** The compiled program; RNB_BINARY names another build of it, and one that runs these tests as Bun is it itself. */
export const binary =
  process.env.RNB_BINARY ?? (process.env.BUN_BE_BUN ? process.execPath : join(root, 'dist/rnb'))
if (!existsSync(binary)) throw new Error(`${binary} is not there: these tests need \`npm run build\` first`)

export const demo = {
  config: join(root, 'config/demo.json'),
  weights: join(root, 'models/demo/demo.safetensors'),
  labels: join(root, 'models/demo/labels.txt'),
  videos: join(root, 'models/demo/videos'),
}

/** All videos of the demo, sorted; the folder of each is its class. */
export const demoVideos: readonly string[] = readdirSync(demo.videos)
  .flatMap(kind => readdirSync(join(demo.videos, kind)).map(name => join(demo.videos, kind, name)))
  .sort()

const sharedFolder = (name: string, holding: string): string | undefined => {
  const folder = join(root, '../shared', name)
  if (existsSync(join(folder, holding))) return folder
  console.warn(`skipped: ../shared/${name} is not here`)
  return undefined
}

/** Real and damaged videos; undefined for who has only this repository. */
export const sharedVideos = sharedFolder('videos', 'truth.json')
/** RnB's own pipeline files; the same. */
export const rnbConfigs = sharedFolder('rnb-config', 'rnb.json')

/** Calls back when the test ends that is running; between tests, when those of the file have ended. */
function atEnd(done: () => void): void {
  try {
    onTestFinished(done)
  } catch {
    afterAll(done)
  }
}

/** An empty folder of this test's own, or of its file's; gone when that ends. */
export function scratch(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'rnb-e2e-')))
  atEnd(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes a file into a new folder. Returns its path. */
export function file(name: string, contents: string | Uint8Array): string {
  const path = join(scratch(), name)
  writeFileSync(path, contents)
  return path
}

type Step = Record<string, unknown>

/** A loader of one clip a video, as the demo's network was trained. */
export const loader = (keys: Step = {}): Step => ({
  model: 'loader',
  queue_groups: [{ gpus: [-1], out_queues: [0] }],
  mean: [0.43216, 0.394666, 0.37645],
  std: [0.22803, 0.22145, 0.216989],
  num_clips_population: [1],
  num_clips_weights: [1],
  ...keys,
})

export const network = (keys: Step = {}): Step => ({
  model: 'network',
  queue_groups: [{ gpus: [-1], in_queue: 0 }],
  ...keys,
})

/** A pipeline file over the demo's videos, weights and labels. Returns its path. */
export const pipeline = (steps: readonly Step[], more: Record<string, unknown> = {}): string =>
  file(
    'pipeline.json',
    JSON.stringify({
      video_root: demo.videos,
      weights: demo.weights,
      labels: demo.labels,
      pipeline: steps,
      ...more,
    }),
  )

/** The demo at one clip a video. */
export const oneClip = (): string => pipeline([loader(), network()])

/** A list of videos for `--video-root`. Returns its path. */
export const listOf = (videos: readonly string[]): string => file('list.txt', `${videos.join('\n')}\n`)

export interface Options {
  cwd?: string
  env?: Record<string, string>
  /** What to run in place of the compiled program, the arguments following. */
  program?: readonly string[]
}

/** What a program that has ended left. */
export class Outcome {
  constructor(
    readonly status: number | null,
    readonly stdout: string,
    readonly stderr: string,
  ) {}

  /** Lines of standard output, every one of which must be as the published schema says. */
  get lines(): (ResultLine | ErrorLine | SummaryLine)[] {
    const text = this.stdout.split('\n')
    if (text.pop() !== '') throw new Error(`the last line has no end: ${this.stdout.slice(-200)}`)
    return text.map(line => v.parse(lineSchema, JSON.parse(line)))
  }

  /** By id. */
  get results(): ResultLine[] {
    return this.lines.filter(line => line.type === 'result').sort((a, b) => a.id - b.id)
  }

  /** By id. */
  get errors(): ErrorLine[] {
    return this.lines.filter(line => line.type === 'error').sort((a, b) => a.id - b.id)
  }

  /** The last line. */
  get summary(): SummaryLine {
    const last = this.lines.at(-1)
    if (last?.type !== 'summary')
      throw new Error(`no summary at the end of standard output; standard error: ${this.stderr}`)
    return last
  }
}

/** These tests are of hosts without a GPU, wherever they run; those of GPUs name the driver that they want. */
const NO_DRIVER = { RNB_CUDA_DRIVER: '/nowhere/libcuda.so.1' }

const RUNS = new Set(['run', 'infer', 'profile'])

/** Text that comes out of a program, as far as it has been read. */
class Output {
  text = ''
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #decoder = new TextDecoder()

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** Reads on. @returns false at the end */
  async more(): Promise<boolean> {
    const { value, done } = await this.#chunks.next()
    this.text += done ? this.#decoder.decode() : this.#decoder.decode(value, { stream: true })
    return !done
  }

  async all(): Promise<string> {
    while (await this.more());
    return this.text
  }
}

/** A program that is running. */
export class Running {
  readonly #child
  readonly #stdout: Output
  readonly #stderr: Output
  /** How much of standard output `line` has given away. */
  #read = 0

  constructor(args: readonly string[], { cwd = root, env, program = [binary] }: Options = {}) {
    const logs = RUNS.has(args[0]!) && !args.includes('--log-dir') ? ['--log-dir', scratch()] : []
    const child = Bun.spawn([...program, ...args, ...logs], {
      cwd,
      env: { ...process.env, ...NO_DRIVER, BUN_BE_BUN: undefined, ...env },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      timeout: HANG_MS,
      killSignal: 'SIGKILL',
    })
    this.#child = child
    this.#stdout = new Output(child.stdout)
    this.#stderr = new Output(child.stderr)
  }

  get pid(): number {
    return this.#child.pid
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The next line of standard output; undefined at its end. */
  async line(): Promise<string | undefined> {
    const output = this.#stdout
    for (;;) {
      const end = output.text.indexOf('\n', this.#read)
      if (end >= 0) {
        const line = output.text.slice(this.#read, end)
        this.#read = end + 1
        return line
      }
      if (!(await output.more())) return undefined
    }
  }

  /** Waits until standard error holds a text. @throws {Error} if it ends without */
  async said(text: string): Promise<void> {
    const output = this.#stderr
    while (!output.text.includes(text))
      if (!(await output.more())) throw new Error(`standard error ended without '${text}': ${output.text}`)
  }

  /** Reads the rest and waits for the end. */
  async ended(): Promise<Outcome> {
    const [stdout, stderr] = await Promise.all([this.#stdout.all(), this.#stderr.all()])
    const status = await this.#child.exited
    return new Outcome(this.#child.signalCode === null ? status : null, stdout, stderr)
  }
}

/** Runs the compiled program to its end. Logs of runs go to a scratch folder unless the arguments say otherwise. */
export const rnb = (args: readonly string[], options: Options = {}): Promise<Outcome> =>
  new Running(args, options).ended()

/** A run on the CPU with all results on standard output, and nothing for people. */
export const run = (config: string, args: readonly string[] = [], options: Options = {}): Promise<Outcome> =>
  rnb(['run', '-c', config, '--device', 'cpu', '--results', '-', '--quiet', ...args], options)
