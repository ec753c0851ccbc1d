import type { Argv } from 'yargs'
import { number, RUN_FLAGS, text } from './arguments.ts'

/** Flags of a run that a sweep sets itself. */
const OWN = new Set<string>(['check', 'results', 'log_dir', 'quiet', 'verbose', 'metrics_port', 'trace'])
const SWEPT = RUN_FLAGS.filter(flag => !OWN.has(flag))
const SHORT: Readonly<Record<string, string>> = {
  config_file_path: 'c',
  batch_size: 'b',
  videos: 'v',
  per_gpu_queue: 'p',
}

/** All flags of `rnb run` as lists of values, and those of the sweep itself. */
export function sweepFlags(parser: Argv) {
  const lists = SWEPT.map(flag => {
    const alias = [flag.replaceAll('_', '-'), SHORT[flag] ?? flag].filter(name => name !== flag)
    return [
      flag,
      { ...text, alias, describe: 'as for rnb run; several values with commas', hidden: true },
    ] as const
  })
  return parser
    .usage(
      '$0 sweep --out DIR\n\nTakes all flags of rnb run, lists of values with commas, and runs every combination of them.',
    )
    .options(Object.fromEntries(lists))
    .option('out', {
      ...text,
      demandOption: true,
      describe: 'folder for a folder a point; what is there is not run again',
    })
    .option('find_max', {
      alias: 'find-max',
      type: 'boolean',
      default: false,
      describe:
        'find the highest rate at which --percentile is within --slo-ms, with another seed to confirm it',
    })
    .option('percentile', { ...number, default: 99, describe: 'of latency, for --find-max' })
    .option('tolerance', { ...number, default: 0.05, describe: 'steps between rates, as a share of a rate' })
    .example(
      '$0 sweep -c a.json,b.json -mi 5,10,20 -b 1,4 -v 2000 --out sweeps/ab',
      'twelve runs and a report',
    )
    .example(
      '$0 sweep -c a.json --find-max --slo-ms 50 --out sweeps/max',
      'the highest rate with p99 within 50 ms',
    )
}

/** Those flags of a run that were given. */
export function sweptFlags(given: Record<string, unknown>): Record<string, string> {
  const flags = SWEPT.map(flag => [flag, given[flag]] as const)
  return Object.fromEntries(
    flags.filter((pair): pair is [(typeof pair)[0], string] => typeof pair[1] === 'string'),
  )
}
