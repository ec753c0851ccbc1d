import { UsageError, VideoError } from '../errors.ts'
import type { Clip } from './types.ts'

/** How many clips to take of a video, and how long. */
export interface SamplerOptions {
  /** Consecutive frames of a clip. RnB: 8. */
  readonly clipFrames: number
  /** Numbers of clips to draw from. RnB: [1, 15]. */
  readonly population: readonly number[]
  /** How often each of them is drawn, relative to the others. RnB: [10, 1]. */
  readonly weights: readonly number[]
}

/** RnB's sampler as it came. */
export const RNB_SAMPLER: SamplerOptions = { clipFrames: 8, population: [1, 15], weights: [10, 1] }

/** Where random numbers come from: float64 in [0, 1). */
export interface RandomSource {
  next(): number
}

/**
 * Chooses clips as RnB does: a number of clips from the weighted population, fewer if the video is too short for as
 * many side by side; clips floor(frames / clips) apart; all of them moved by one random offset, up to what is left
 * between a clip's end and the next one's start.
 *
 * @param frames frames of the video.
 * @returns clips in presentation order, inside of the video, none overlapping.
 * @throws {VideoError} `too_short` if the video is shorter than one clip.
 */
export function sampleClips(frames: number, options: SamplerOptions, random: RandomSource): Clip[] {
  const { clipFrames } = options
  const room = Math.floor(frames / clipFrames)
  if (room < 1)
    throw new VideoError('too_short', `the video has ${frames} frames, a clip takes ${clipFrames}`)
  const clips = Math.min(drawWeighted(options, random), room)
  const spacing = Math.floor(frames / clips)
  const start = Math.floor(random.next() * (spacing - clipFrames + 1))
  return Array.from({ length: clips }, (_, i) => ({ first: start + i * spacing, count: clipFrames }))
}

/** One of the population, by the weights. */
export function drawWeighted(
  { population, weights }: Pick<SamplerOptions, 'population' | 'weights'>,
  random: RandomSource,
): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  if (population.length === 0 || population.length !== weights.length || !(total > 0)) {
    throw new UsageError('the sampler needs as many weights as numbers of clips, and not all of them zero')
  }
  let left = random.next() * total
  for (let i = 0; i < population.length; i++) {
    left -= weights[i]!
    if (left < 0) return population[i]!
  }
  return population.findLast((_, i) => weights[i]! > 0)!
}
