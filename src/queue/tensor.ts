export type ElementType = 'f32' | 'f16'

export const ELEMENT_BYTES: Record<ElementType, number> = { f32: 4, f16: 2 }

/** Shape and type of a tensor; in a plan the first dimension (clips) is the largest that can occur. */
export interface TensorSpec {
  shape: number[]
  type: ElementType
  /** Where it lives: memory of the host unless it says `device`, the GPU of the instance that makes it. */
  memory?: 'device'
}

export const elements = (shape: readonly number[]): number =>
  shape.reduce((product, size) => product * size, 1)

export const tensorBytes = (spec: TensorSpec): number => elements(spec.shape) * ELEMENT_BYTES[spec.type]
