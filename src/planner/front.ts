/** How good something is at two things, of which more is better. */
export interface Point {
  a: number
  b: number
}

/** By point: whether no other is at least as good at both and better at one. */
export function paretoFront(points: readonly Point[]): boolean[] {
  return points.map(
    ({ a, b }) => !points.some(other => other.a >= a && other.b >= b && (other.a > a || other.b > b)),
  )
}
