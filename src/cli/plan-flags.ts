import type { Argv } from 'yargs'
import { number, text } from './arguments.ts'

const BUDGET_S = 600

/** Flags of `rnb plan`. */
export function planFlags(parser: Argv) {
  return parser
    .usage(
      '$0 plan -c PIPELINE --video-root DIR\n\nMeasures the steps of a pipeline, searches the ways to place them, runs the best, and writes a pipeline file.',
    )
    .option('config_file_path', {
      alias: ['c', 'config-file-path', 'config'],
      ...text,
      demandOption: true,
      describe: 'pipeline file, of which the steps count',
    })
    .option('video_root', { alias: 'video-root', ...text, describe: 'videos: a folder, a glob, or LIST.txt' })
    .option('weights', { ...text, describe: 'checkpoint' })
    .option('labels', { ...text, describe: 'text file with one class name a line' })
    .option('maximize', { ...text, describe: 'throughput: as many videos a second as can be (the default)' })
    .option('rate', { ...number, describe: 'in place of that, the lowest p99 at so many videos a second' })
    .option('slo_ms', {
      alias: 'slo-ms',
      ...number,
      describe: 'with --rate: p99 to keep to, with as few GPUs as do it',
    })
    .option('gpus', { ...text, describe: 'GPUs to use, such as 0,1 [default: all]' })
    .option('device', { ...text, default: 'auto', describe: 'cpu, cuda or auto (CUDA if there is a driver)' })
    .option('share_gpu', {
      alias: 'share-gpu',
      type: 'boolean',
      default: false,
      describe: 'use a GPU that another process uses',
    })
    .option('budget', { ...number, default: BUDGET_S, describe: 'seconds for all of it' })
    .option('what_if', {
      alias: 'what-if',
      ...text,
      describe: 'plan for gpus=8, or hosts=100,gpus=8, by simulation alone',
    })
    .option('no_proof', {
      alias: 'no-proof',
      type: 'boolean',
      default: false,
      describe: 'run no plan: say what is predicted',
    })
    .option('no_cache', {
      alias: 'no-cache',
      type: 'boolean',
      default: false,
      describe: 'measure anew, whatever was measured before',
    })
    .option('loaders', {
      ...text,
      default: 'gpu,cpu',
      describe: 'where loaders may run, on a host with GPUs: gpu, cpu, or both',
    })
    .option('batches', { ...text, describe: 'sizes of network batches to choose from, such as 1,4' })
    .option('segments', { ...text, describe: 'parts of a video to choose from, such as 1,3' })
    .option('pieces', { ...number, describe: 'steps that a network may be cut into' })
    .option('replicas', {
      ...number,
      describe: 'instances of a step on one GPU, or of each on the CPU, at most',
    })
    .option('seed', { ...number, default: 0, describe: 'of everything that is drawn' })
    .option('out', {
      ...text,
      default: 'plan',
      describe: 'folder for pipeline.json, plan.json, report.html and the runs',
    })
    .option('quiet', { type: 'boolean', default: false, describe: 'print nothing but JSON and errors' })
    .example('$0 plan -c whole --video-root clips/ --maximize throughput', 'the most videos a second')
    .example(
      '$0 plan -c whole --video-root clips/ --rate 300 --slo-ms 50 --gpus 0,1',
      'the fewest GPUs for a goal',
    )
}
