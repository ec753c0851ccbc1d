import yargs, { type Argv } from 'yargs'
import { LibraryError, NativeError } from '../../ffi/error.ts'
import { UsageError } from '../errors.ts'
import { VERSION } from '../version.ts'
import { checkRunFlags, normaliseArguments, number, STALL_MS, text } from './arguments.ts'
import { EXIT, endProcess } from './exit.ts'
import { ownCommand } from './own-process.ts'
import { planFlags } from './plan-flags.ts'
import { sweepFlags, sweptFlags } from './sweep-flags.ts'

/** Flags that `run` and `infer` share: where videos, weights and labels come from, and where results go. */
function modelFlags<T>(parser: Argv<T>) {
  return parser
    .option('config_file_path', {
      alias: ['c', 'config-file-path', 'config'],
      ...text,
      default: 'config/r2p1d-whole.json',
      describe: 'pipeline file',
    })
    .option('weights', { ...text, describe: 'checkpoint: .safetensors, .pth, .pt, .pth.tar' })
    .option('labels', { ...text, describe: 'text file with one class name a line' })
    .option('device', {
      ...text,
      default: 'auto',
      describe: 'cpu, cuda or auto (CUDA if there is a driver)',
    })
    .option('share_gpu', {
      alias: 'share-gpu',
      type: 'boolean',
      default: false,
      describe: 'run on a GPU that another process uses',
    })
    .option('seed', { ...number, default: 0, describe: 'of arrivals, videos, clips and random weights' })
    .option('top', { ...number, default: 5, describe: 'classes in a result' })
    .option('on_error', {
      alias: 'on-error',
      ...text,
      default: 'skip',
      describe: 'what a video that fails does: skip it, or abort the run',
    })
    .option('log_dir', {
      alias: 'log-dir',
      ...text,
      describe: 'folder for log folders [default: logs]',
    })
    .option('verbose', {
      type: 'boolean',
      default: false,
      describe: 'say at once what the summary notes: fallbacks, what runs where',
    })
    .option('quiet', { type: 'boolean', default: false, describe: 'print nothing but JSON and errors' })
}

function runCommandFlags<T>(parser: Argv<T>) {
  return modelFlags(parser)
    .option('mean_interval_ms', {
      alias: ['mean-interval-ms'],
      ...number,
      default: 3,
      describe: 'mean time between arrivals in ms (-mi); 0: all videos at once',
    })
    .option('rate', { ...number, describe: 'mean arrivals per second, instead of an interval' })
    .option('batch_size', {
      alias: ['b', 'batch-size'],
      ...number,
      default: 1,
      describe: 'videos in a network batch',
    })
    .option('max_batch_delay_ms', {
      alias: ['max-batch-delay-ms'],
      ...number,
      default: 5,
      describe: 'longest time in ms that a partial batch waits',
    })
    .option('videos', { alias: ['v'], ...number, describe: 'number of requests [default: 2000]' })
    .option('queue_size', {
      alias: ['queue-size'],
      ...number,
      default: 500,
      describe: 'capacity of each queue in items (-qs)',
    })
    .option('per_gpu_queue', {
      alias: ['p', 'per-gpu-queue'],
      type: 'boolean',
      default: false,
      describe: 'intermediate queues for each GPU, so that items stay where they were loaded',
    })
    .option('check', {
      type: 'boolean',
      default: false,
      describe: 'check the configuration and the host, then stop',
    })
    .option('video_root', {
      alias: ['video-root'],
      ...text,
      describe: 'videos: a folder (or folder of folders), a glob in quotes, or a list in a .txt file',
    })
    .option('warmup', {
      ...number,
      default: 10,
      describe: 'requests at the start that statistics leave out',
    })
    .option('arrival', {
      ...text,
      describe:
        'poisson, constant, bulk, mmpp:RATE@MS,RATE@MS,... (bursts) or trace:FILE (an earlier run) [default: poisson]',
    })
    .option('concurrency', {
      ...number,
      describe: 'closed loop in place of arrivals: so many requests in flight, the next when one is done',
    })
    .option('duration', { ...number, describe: 'seconds during which requests arrive' })
    .option('slo_ms', { alias: ['slo-ms'], ...number, describe: 'latency goal in ms, for goodput' })
    .option('on_full', {
      alias: ['on-full'],
      ...text,
      default: 'abort',
      describe: 'what a full queue does: abort the run, drop what has no room, or have it wait',
    })
    .option('timeout_ms', {
      alias: ['timeout-ms'],
      ...number,
      describe: 'drop a request that is later than this, in ms, before its next step',
    })
    .option('stall_ms', {
      alias: ['stall-ms'],
      ...number,
      default: STALL_MS,
      describe: 'end the run if one call of a step takes longer than this, in ms: it hangs; 0: never',
    })
    .option('telemetry_ms', {
      alias: ['telemetry-ms'],
      ...number,
      describe: 'read load, memory, power, clocks and temperature of GPUs and host every so many ms',
    })
    .option('metrics_port', {
      alias: ['metrics-port'],
      ...number,
      describe: "port for a running job's metrics in Prometheus' format; 0: any that is free",
    })
    .option('trace', {
      ...text,
      describe: 'file for what every thread did when, for Perfetto or chrome://tracing',
    })
    .option('results', { ...text, describe: 'file for a JSON line per video; - for standard output' })
    .example(
      '$0 run -c config/demo.json -v 100 -mi 50 --results -',
      'the demo, 20 videos/s, labels as JSON Lines',
    )
    .example('$0 -mi 90 -b 1 -v 500 -qs 500 -c whole --video-root clips/', "RnB's flags")
}

function commandLine(argv: string[], status: { code: number }): Argv {
  return yargs(argv)
    .scriptName('rnb')
    .usage('$0 runs video models of several steps on GPUs or the CPU, and measures them.')
    .parserConfiguration({
      'duplicate-arguments-array': false,
      'boolean-negation': false,
      'parse-positional-numbers': false,
    })
    .command(
      ['run', '$0'],
      'run a pipeline on videos that arrive at random, and measure it',
      parser => runCommandFlags(parser as Argv),
      async flags => {
        const { run } = await import('./run.ts')
        status.code = await run(checkRunFlags(flags))
      },
    )
    .command(
      'profile',
      'run a pipeline, and say where the time goes: by step, by kernel, by layer of its networks',
      parser =>
        runCommandFlags(parser as Argv)
          .option('json', { type: 'boolean', default: false, describe: 'as a line of JSON' })
          .option('kernels', {
            type: 'boolean',
            default: false,
            describe: 'a line of JSON for each kernel and copy, with its start and end',
          })
          .option('counters', {
            type: 'boolean',
            default: true,
            describe: "read the GPU's counters of the networks' kernels, after the run",
          })
          .example('$0 profile -c whole -v 500 -mi 0 --video-root clips/', 'tables, on standard error')
          .example(
            '$0 profile -c whole --json | jq \'select(.type == "profile").kernels[:3]\'',
            'for programs',
          ),
      async flags => {
        const { profile } = await import('./profile.ts')
        status.code = await profile(checkRunFlags(flags), flags)
      },
    )
    .command(
      'profile-counters',
      false,
      parser =>
        runCommandFlags(parser as Argv)
          .option('step', { ...number, demandOption: true })
          .option('clips', { ...number, demandOption: true }),
      async flags => {
        const { profileCounters } = await import('./profile-counters.ts')
        status.code = await profileCounters(checkRunFlags(flags), flags)
      },
    )
    .command(
      'infer',
      'classify videos; a JSON line each on standard output',
      // Not a positional of the parser's: of those, as of flags, it would keep the last.
      parser =>
        modelFlags(parser as Argv)
          .usage('$0 infer VIDEO...\n\nClassify videos: a JSON line each on standard output.')
          .strict(false)
          .strictOptions()
          .example('$0 infer -c config/demo.json a.mp4 b.mp4 | jq -r ".top[0].label"', 'labels'),
      async flags => {
        const videos = flags._.slice(1).map(String)
        if (videos.length === 0) throw new UsageError('infer: name one or more videos')
        const { infer } = await import('./infer.ts')
        status.code = await infer(videos, flags)
      },
    )
    .command(
      'doctor',
      'say what this host has, and what a pipeline would lack',
      parser =>
        (parser as Argv)
          .option('config_file_path', {
            alias: ['c', 'config'],
            ...text,
            describe: 'pipeline file to check against',
          })
          .option('batch_size', {
            alias: ['b', 'batch-size'],
            ...number,
            default: 1,
            describe: 'videos in a network batch, for its need of memory',
          })
          .option('video_root', {
            alias: ['video-root'],
            ...text,
            describe: 'videos, whose codecs are checked',
          })
          .option('device', { ...text, default: 'auto', describe: 'cpu, cuda or auto' })
          .option('share_gpu', {
            alias: 'share-gpu',
            type: 'boolean',
            default: false,
            describe: 'do not mind other processes on a GPU',
          })
          .option('json', { type: 'boolean', default: false, describe: 'as JSON' }),
      async flags => {
        const { doctor } = await import('./doctor.ts')
        status.code = await doctor(flags)
      },
    )
    .command(
      'report',
      'draw what runs came to: one HTML page, and picture files and tables if asked for',
      // Not a positional of the parser's: of those, as of flags, it would keep the last.
      parser =>
        (parser as Argv)
          .usage(
            '$0 report RUN...\n\nA page with the latencies, loads and stages of runs: log folders of rnb or of RnB, or files of --results.',
          )
          .strict(false)
          .strictOptions()
          .option('output', { alias: 'o', ...text, default: 'report.html', describe: 'the page' })
          .option('svg', { ...text, describe: 'folder for the pictures as SVG' })
          .option('png', { ...text, describe: 'folder for the pictures as PNG' })
          .option('csv', { ...text, describe: 'folder for tables as CSV' })
          .example('$0 report logs/*', 'compares all runs in logs/'),
      async flags => {
        const runs = flags._.slice(1).map(String)
        if (runs.length === 0) throw new UsageError('report: name one or more log folders')
        const { report } = await import('./report.ts')
        status.code = await report(runs, flags)
      },
    )
    .command(
      'sweep',
      'run every combination of lists of flags, or find the highest rate that meets a latency goal; then report',
      parser => sweepFlags(parser as Argv),
      async flags => {
        const { sweep } = await import('./sweep.ts')
        status.code = await sweep(ownCommand(), sweptFlags(flags), flags)
      },
    )
    .command(
      'plan',
      'find the best way to place a pipeline on this host: measure, search, run the best, write a pipeline file and a report',
      parser => planFlags(parser as Argv),
      async flags => {
        const [{ plan }, { checkPlanFlags }] = await Promise.all([
          import('./plan.ts'),
          import('./plan-request.ts'),
        ])
        status.code = await plan(ownCommand(), checkPlanFlags(flags))
      },
    )
    .command('weights', 'look into, convert and check checkpoints', async parser => {
      const { weightsCommands } = await import('./weights-commands.ts')
      return weightsCommands(parser as Argv, status)
    })
    .command('config', 'check pipeline files, print their schema', async parser => {
      const { configCommands } = await import('./config-commands.ts')
      return configCommands(parser as Argv)
    })
    .command(
      'types',
      'print the types that modules of your own import: rnb types > rnb.d.ts',
      {},
      async () => {
        const { declarations } = await import('./types.ts')
        process.stdout.write(declarations())
      },
    )
    .strict()
    .recommendCommands()
    .version(VERSION)
    .help()
    .alias('help', 'h')
    .wrap(Math.min(110, process.stderr.columns ?? 110))
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail((message, error) => {
      // The parser's own complaints come with an error of theirs, or without one.
      if (error && error.name !== 'YError') throw error
      throw new UsageError(`${message}\nrnb --help lists commands and flags.`)
    })
}

/** Parses the command line, runs the command, and sets the process's exit status. Never throws. */
export async function main(argv: string[]): Promise<void> {
  const status: { code: number } = { code: EXIT.done }
  // Whoever read it has gone; the run goes on for whoever reads the results.
  process.stderr.on('error', () => {})
  try {
    await commandLine(normaliseArguments(argv), status).parseAsync()
  } catch (error) {
    status.code = error instanceof UsageError ? EXIT.usage : EXIT.failed
    const short = error instanceof NativeError && error.statusName === 'CUDA_ERROR_OUT_OF_MEMORY'
    const expected = error instanceof UsageError || error instanceof LibraryError || short
    console.error(
      `rnb: ${expected ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
  }
  await endProcess(status.code)
}
