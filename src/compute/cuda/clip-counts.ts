/** Numbers of clips that a graph is made for, below the largest: dense where videos of 1 to 15 clips come alone. */
const COUNTS = [1, 2, 4, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240]

/** Ascending, with the largest last. */
export const clipCounts = (most: number): number[] => [...COUNTS.filter(count => count < most), most]

/** The smallest of the counts that `clips` fit into. */
export function roundUp(clips: number, counts: readonly number[]): number {
  const count = counts.find(c => c >= clips)
  if (count === undefined) throw new RangeError(`${clips} clips, where ${counts.at(-1)} are the most`)
  return count
}
