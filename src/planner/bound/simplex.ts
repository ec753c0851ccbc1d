/** A linear program: maximise `gain` x where `rows` x <= `limits` and x >= 0. */
export interface Program {
  gain: ArrayLike<number>
  rows: readonly ArrayLike<number>[]
  /** None below 0: then x = 0 is a place to begin at. */
  limits: ArrayLike<number>
}

export interface Solution {
  /** Infinity where nothing limits the gain. */
  value: number
  x: Float64Array
  /** By row: what the gain would grow by if its limit did, at first. None below 0. */
  prices: Float64Array
}

/** Below this a number has come to be 0 by rounding. */
const ZERO = 1e-11

/** The simplex method in a table, by Bland's rule, which never goes round in a circle: for programs of some dozens of rows. */
export function solve({ gain, rows, limits }: Program): Solution {
  const [height, width] = [rows.length, gain.length]
  const columns = width + height + 1
  const table = rows.map((row, r) => {
    const line = new Float64Array(columns)
    line.set(row)
    line[width + r] = 1
    line[columns - 1] = limits[r]!
    return line
  })
  const costs = new Float64Array(columns)
  for (let c = 0; c < width; c++) costs[c] = -gain[c]!
  const basis = rows.map((_, r) => width + r)
  for (;;) {
    const enters = costs.findIndex((cost, c) => c < columns - 1 && cost < -ZERO)
    if (enters < 0) break
    const leaves = leavingRow(table, basis, enters)
    if (leaves === undefined) return unlimited(width, height)
    pivot([...table, costs], table[leaves]!, enters)
    basis[leaves] = enters
  }
  const x = new Float64Array(width)
  basis.forEach((column, r) => {
    if (column < width) x[column] = table[r]![columns - 1]!
  })
  const prices = costs.slice(width, width + height).map(price => Math.max(0, price))
  return { value: costs[columns - 1]!, x, prices }
}

const unlimited = (width: number, height: number): Solution => ({
  value: Number.POSITIVE_INFINITY,
  x: new Float64Array(width),
  prices: new Float64Array(height),
})

/** The row whose limit is met first as a column grows; of equals, that of the smallest column. */
function leavingRow(
  table: readonly Float64Array[],
  basis: readonly number[],
  column: number,
): number | undefined {
  let best: number | undefined
  let least = Number.POSITIVE_INFINITY
  table.forEach((line, r) => {
    if (line[column]! <= ZERO) return
    const ratio = line.at(-1)! / line[column]!
    const closer = ratio < least - ZERO
    if (closer || (ratio <= least + ZERO && basis[r]! < basis[best!]!)) {
      best = r
      least = Math.min(least, ratio)
    }
  })
  return best
}

/** Takes a column out of all lines but one, in which it becomes 1. */
function pivot(lines: readonly Float64Array[], by: Float64Array, column: number): void {
  const scale = 1 / by[column]!
  for (let c = 0; c < by.length; c++) by[c]! *= scale
  by[column] = 1
  for (const line of lines) {
    const factor = line[column]!
    if (line === by || factor === 0) continue
    for (let c = 0; c < line.length; c++) line[c]! -= factor * by[c]!
    line[column] = 0
  }
}
