import type { Share } from '../queue/item.ts'

/** A class and its probability. */
export interface Score {
  index: number
  score: number
}

/** Mean over `rows` rows of [.., classes] logits from row `first`, in float64. */
export function meanLogits(logits: Float32Array, classes: number, first: number, rows: number): Float64Array {
  const mean = new Float64Array(classes)
  for (let row = first; row < first + rows; row++)
    for (let c = 0; c < classes; c++) mean[c]! += logits[row * classes + c]! / rows
  return mean
}

/** The `top` most probable classes of softmax(logits), most probable first; of equals the lower index. */
export function topScores(logits: Float64Array, top: number): Score[] {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const exponentials = logits.map(logit => Math.exp(logit - largest))
  const sum = exponentials.reduce((a, b) => a + b, 0)
  return Array.from(exponentials, (e, index) => ({ index, score: e / sum }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, top)
}

/** Splits logits [rows, classes] among the shares whose rows they are: the top classes of each. */
export function* scoresOfShares(
  logits: Float32Array,
  classes: number,
  shares: readonly Share[],
  top: number,
): Generator<{ share: Share; scores: Score[] }> {
  let row = 0
  for (const share of shares) {
    yield { share, scores: topScores(meanLogits(logits, classes, row, share.clips), top) }
    row += share.clips
  }
}
