import { elements, type TensorSpec } from '../queue/tensor.ts'

export const specText = ({ shape, type, memory }: TensorSpec): string =>
  `${type}[${shape.join(', ')}]${memory === 'device' ? ' on the GPU' : ''}`

/** Rows of the largest of `segments` nearly equal parts. */
export const segmentSpec = (spec: TensorSpec, segments: number): TensorSpec => ({
  ...spec,
  shape: spec.shape.map((size, i) => (i === 0 ? Math.ceil(size / segments) : size)),
})

const alike = (a: TensorSpec, b: TensorSpec): boolean =>
  a.type === b.type &&
  a.memory === b.memory &&
  a.shape.length === b.shape.length &&
  a.shape.every((size, i) => i === 0 || size === b.shape[i])

/** What holds either of two lists of tensors; undefined if they differ in more than their first dimension. */
export function joinSpecs(a: readonly TensorSpec[], b: readonly TensorSpec[]): TensorSpec[] | undefined {
  if (a.length !== b.length || !a.every((spec, i) => alike(spec, b[i]!))) return undefined
  return a.map((spec, i) => ({
    ...spec,
    shape: [Math.max(spec.shape[0] ?? 1, b[i]!.shape[0] ?? 1), ...spec.shape.slice(1)],
  }))
}

export const totalElements = (specs: readonly TensorSpec[]): number =>
  specs.reduce((sum, spec) => sum + elements(spec.shape), 0)
