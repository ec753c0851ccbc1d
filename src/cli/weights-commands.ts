import { availableParallelism } from 'node:os'
import type { Argv } from 'yargs'
import { UsageError } from '../errors.ts'
import { number, text } from './arguments.ts'
import { EXIT } from './exit.ts'
import {
  conversionText,
  convertWeights,
  exportOnnx,
  exportText,
  inspectionText,
  inspectWeights,
  verificationText,
  verifyWeights,
} from './weights.ts'

/** What people read on standard error, and the same as one JSON object on standard output. */
function report(type: string, text: string, facts: object): void {
  console.error(text)
  console.log(JSON.stringify({ type, ...facts }))
}

const wholeNumber = (flag: string, value: number, least: number): number => {
  if (Number.isInteger(value) && value >= least) return value
  throw new UsageError(`${flag} takes a whole number from ${least} up`)
}

const file = { type: 'string', demandOption: true, describe: 'checkpoint' } as const

/** `rnb weights inspect | convert | verify | export-onnx`. */
export function weightsCommands(parser: Argv, status: { code: number }): Argv {
  return parser
    .command(
      'inspect <file>',
      'say which network a checkpoint holds, and its tensors',
      p => p.positional('file', file),
      flags => {
        const found = inspectWeights(flags.file)
        report('inspection', inspectionText(found), found)
      },
    )
    .command(
      'convert <file> <output>',
      'write a checkpoint as safetensors',
      p =>
        p
          .positional('file', file)
          .positional('output', { type: 'string', demandOption: true, describe: 'safetensors file to write' })
          .option('dtype', {
            nargs: 1,
            choices: ['float32', 'float16'] as const,
            default: 'float32' as const,
            describe: 'type of floats',
          }),
      flags => {
        const done = convertWeights(flags.file, flags.output, flags.dtype)
        report('conversion', conversionText(done), done)
      },
    )
    .command(
      'verify <file>',
      'run a checkpoint on given clips and compare its logits; exit 1 past the tolerance',
      p =>
        p
          .positional('file', file)
          .option('inputs', {
            ...text,
            demandOption: true,
            describe: 'safetensors file: clips x 3 x frames x height x width',
          })
          .option('expect', {
            ...text,
            demandOption: true,
            describe: 'safetensors file: clips x classes',
          })
          .option('tolerance', {
            ...number,
            default: 1e-4,
            describe: 'largest relative error that passes',
          }),
      flags => {
        if (!(flags.tolerance >= 0)) throw new UsageError('--tolerance takes a number from 0 up')
        const { file, inputs, expect, tolerance } = flags
        const verified = verifyWeights(file, inputs, expect, tolerance, availableParallelism())
        report('verification', verificationText(verified), verified)
        status.code = verified.ok ? EXIT.done : EXIT.failed
      },
    )
    .command(
      'export-onnx <output>',
      'write a network, or some of its layers, as an ONNX file',
      p =>
        p
          .positional('output', { type: 'string', demandOption: true, describe: 'ONNX file to write' })
          .option('weights', {
            ...text,
            describe: 'checkpoint; random weights from the seed without it',
          })
          .option('seed', { ...number, default: 0, describe: 'of random weights' })
          .option('start_index', {
            alias: 'start-index',
            ...number,
            default: 1,
            describe: 'first layer, 1 to 5',
          })
          .option('end_index', {
            alias: 'end-index',
            ...number,
            default: 5,
            describe: 'last layer, 1 to 5',
          })
          .option('frames', { ...number, default: 8, describe: 'frames of a clip' })
          .option('size', { ...number, default: 112, describe: 'height and width of a clip in pixels' }),
      flags => {
        const seed = wholeNumber('--seed', flags.seed, 0)
        const exported = exportOnnx({ weights: flags.weights, seed }, flags.output, {
          startIndex: flags.start_index,
          endIndex: flags.end_index,
          frames: wholeNumber('--frames', flags.frames, 1),
          size: wholeNumber('--size', flags.size, 1),
        })
        report('export', exportText(exported), exported)
      },
    )
    .demandCommand(1, 'weights: name one of inspect, convert, verify, export-onnx')
}
