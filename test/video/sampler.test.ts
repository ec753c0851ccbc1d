import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { UsageError, VideoError } from '../../src/errors.ts'
import { Rng } from '../../src/rng.ts'
import { RNB_SAMPLER, sampleClips } from '../../src/video/sampler.ts'

/** Gives the numbers in turn. */
const given = (...numbers: number[]) => ({ next: () => numbers.shift() ?? 0 })

const options = fc
  .array(fc.record({ clips: fc.integer({ min: 1, max: 40 }), weight: fc.integer({ min: 0, max: 9 }) }), {
    minLength: 1,
    maxLength: 4,
  })
  .filter(choices => choices.some(({ weight }) => weight > 0))
  .chain(choices =>
    fc.record({
      clipFrames: fc.integer({ min: 1, max: 32 }),
      population: fc.constant(choices.map(({ clips }) => clips)),
      weights: fc.constant(choices.map(({ weight }) => weight)),
    }),
  )

describe('RnB’s sampler', () => {
  test('clips lie inside of the video, apart by floor(frames / clips), each of consecutive frames', () => {
    fc.assert(
      fc.property(options, fc.integer({ min: 1, max: 2000 }), fc.nat(), (sampler, frames, seed) => {
        fc.pre(frames >= sampler.clipFrames)
        const clips = sampleClips(frames, sampler, Rng.of(seed))
        expect(clips.length).toBeGreaterThan(0)
        const spacing = Math.floor(frames / clips.length)
        for (const [i, { first, count }] of clips.entries()) {
          expect(Number.isInteger(first)).toBe(true)
          expect(count).toBe(sampler.clipFrames)
          expect(first).toBeGreaterThanOrEqual(0)
          expect(first + count).toBeLessThanOrEqual(frames)
          if (i > 0) {
            expect(first - clips[i - 1]!.first).toBe(spacing)
            expect(spacing).toBeGreaterThanOrEqual(count)
          }
        }
      }),
      { seed: 1 },
    )
  })

  test('as many clips as drawn, or as many as fit side by side', () => {
    fc.assert(
      fc.property(options, fc.integer({ min: 32, max: 2000 }), fc.nat(), (sampler, frames, seed) => {
        const { length } = sampleClips(frames, sampler, Rng.of(seed))
        const fits = Math.floor(frames / sampler.clipFrames)
        const drawn = sampler.population.filter((_, i) => sampler.weights[i]! > 0)
        expect(drawn.map(clips => Math.min(clips, fits))).toContain(length)
      }),
      { seed: 1 },
    )
  })

  test('the start takes all of the leniency that the spacing leaves, and no more', () => {
    // 100 frames, 3 clips: 33 apart, so the first begins at 0..25.
    const sampler = { clipFrames: 8, population: [3], weights: [1] }
    expect(sampleClips(100, sampler, given(0, 0)).map(clip => clip.first)).toEqual([0, 33, 66])
    expect(sampleClips(100, sampler, given(0, 1 - 2 ** -53)).map(clip => clip.first)).toEqual([25, 58, 91])
    const starts = new Set<number>()
    for (let i = 0; i < 26; i++) starts.add(sampleClips(100, sampler, given(0, (i + 0.5) / 26))[0]!.first)
    expect(starts.size).toBe(26)
  })

  test('one clip ten times as often as fifteen', () => {
    const random = Rng.of(7)
    const draws = 22_000
    let fifteen = 0
    for (let i = 0; i < draws; i++) {
      const { length } = sampleClips(300, RNB_SAMPLER, random)
      expect([1, 15]).toContain(length)
      if (length === 15) fifteen++
    }
    // Binomial with p = 1/11: a deviation of five standard deviations is one in two million.
    expect(Math.abs(fifteen - draws / 11)).toBeLessThan(5 * Math.sqrt((draws * 10) / 121))
  })

  test('as long as one clip is enough; shorter is too short', () => {
    expect(sampleClips(8, RNB_SAMPLER, given(0.99, 0.99))).toEqual([{ first: 0, count: 8 }])
    expect(() => sampleClips(7, RNB_SAMPLER, given())).toThrow(VideoError)
    try {
      sampleClips(7, RNB_SAMPLER, given())
    } catch (error) {
      expect((error as VideoError).code).toBe('too_short')
      expect((error as VideoError).message).toBe('the video has 7 frames, a clip takes 8')
    }
  })

  test('choices without a weight are wrong use', () => {
    for (const weights of [[], [0], [1, 2]]) {
      expect(() => sampleClips(100, { clipFrames: 8, population: [1], weights }, given())).toThrow(UsageError)
    }
  })
})
