/**
 * A share of one request, which owns `clips` rows of the item's tensors. It stands for one in `parts` of the request:
 * over all shares that are made of it, 1 / parts comes to 1, also where some parts have been split again. `part` is
 * its place among the most parts that there could be.
 */
export interface Share {
  request: number
  part: number
  parts: number
  clips: number
}

/** One tensor of an item: rows of a slot of a pool. The first dimension of `shape` counts the rows (clips). */
export interface TensorRef {
  pool: number
  slot: number
  /** First row; not 0 where the rows of a slot are shared out among several items. */
  row: number
  shape: number[]
}

/**
 * What travels through a queue: some requests' shares, in the order of their rows, with the tensors that
 * hold these rows and any other values that a step passes on.
 */
export interface Item {
  shares: Share[]
  tensors: TensorRef[]
  values: number[]
}
