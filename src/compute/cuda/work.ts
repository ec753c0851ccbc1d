import { outputOf } from '../../../ffi/cudnn/graph.ts'
import { BYTES, type ClipLayout, clipBytes, placesOf } from './layout.ts'
import { type Operation, POOLED, type Program } from './program.ts'

/** What an operation cannot do with less: arithmetic, and bytes that are read or written once each. */
export interface LeastWork {
  readonly flops: number
  readonly bytes: number
}

const NONE: LeastWork = { flops: 0, bytes: 0 }

const sum = (a: LeastWork, b: LeastWork): LeastWork => ({
  flops: a.flops + b.flops,
  bytes: a.bytes + b.bytes,
})

/** Without padding of channels, which nobody asked for. */
const dense = (layout: ClipLayout): number => placesOf(layout) * layout.channels * BYTES[layout.type]

/** Of one operation for so many clips. */
export function workOf(operation: Operation, { values }: Program, clips: number): LeastWork {
  if (operation.kind === 'pick') return { flops: 0, bytes: 2 * clips * dense(values.get(operation.output)!) }
  const problem = operation.problem(clips)
  const { channelsIn, channelsOut } = operation.convolution
  const [n, , h, w] = outputOf(problem)
  const places = n * h * w
  const taps = problem.filter[2] * problem.filter[3]
  const read = problem.input[0] * problem.input[2] * problem.input[3] * channelsIn
  const written = places * channelsOut * (problem.residual ? 2 : 1)
  return {
    flops: 2 * places * channelsOut * channelsIn * taps,
    bytes: BYTES[problem.type] * (read + written + taps * channelsIn * channelsOut),
  }
}

/** The name of an operation's launch: its convolution's, or what a pick makes. */
const nameOf = (operation: Operation): string =>
  operation.kind === 'pick' ? operation.output : operation.convolution.name

/**
 * Of each launch by its name, for so many clips; of one that does several operations, `a + b`, their sum. A pick that has
 * no launch of its own is done along with the convolution after it, and counts as nothing there.
 */
export function workByName(program: Program, clips: number): (name: string) => LeastWork {
  const { operations, values, linear, output } = program
  const works = new Map(operations.map(operation => [nameOf(operation), workOf(operation, program, clips)]))
  if (linear) {
    const { features, classes } = linear
    works.set(POOLED, {
      flops: clips * values.get(output)!.channels * placesOf(values.get(output)!),
      bytes: clips * (clipBytes(values.get(output)!) + 4 * features),
    })
    works.set('linear', {
      flops: 2 * clips * features * classes,
      bytes: 4 * (clips * (features + classes) + features * classes),
    })
  }
  return name => name.split(' + ').reduce((all, part) => sum(all, works.get(part) ?? NONE), NONE)
}
