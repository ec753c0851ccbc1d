import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import expected from '../../models/demo/expected.json'
import { loadNetwork, networkArchitecture } from '../../models/load.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import type { NetworkExecutor } from '../../src/compute/executor.ts'
import { builtin } from '../../src/pipeline/builtin.ts'
import { loadConfig } from '../../src/pipeline/config.ts'
import type { ClipOptions } from '../../src/steps/clip-options.ts'
import { ClipReader, preprocessingOf } from '../../src/steps/clip-reader.ts'
import { openVideo } from '../../src/video/open.ts'

const ROOT = join(import.meta.dir, '../..')
const DEMO = join(ROOT, 'models/demo')
const config = loadConfig(join(ROOT, 'config/demo.json'), builtin)
const options = config.steps[0]!.groups[0]!.options as ClipOptions

const { clipFrames: T, size: S, classes } = expected
const PLANE = S * S
const CLIP = 3 * T * PLANE
/** FFmpeg's frames, the formula in float64 and torch gave the expected scores: rounding alone is between. */
const TOLERANCE = 1e-3
/** For a machine that is busy with other things. */
const TIMEOUT = 120_000

/** What becomes of each label where warm and cool shapes, or past and future, change places; and left and right. */
const OPPOSITE = [1, 0, 3, 2, 5, 4, 7, 6]
const MIRRORED = [1, 0, 2, 3, 4, 5, 7, 6]

/** Clips made anew: each value taken from another place (channel, frame, row, column) of its clip. */
function rearranged(
  clips: Float32Array,
  from: (c: number, t: number, y: number, x: number) => [c: number, t: number, y: number, x: number],
): Float32Array {
  const { mean, std } = preprocessingOf(options)
  const at = (c: number, t: number, y: number, x: number) => ((c * T + t) * S + y) * S + x
  return clips.map((_, i) => {
    const clip = Math.floor(i / CLIP) * CLIP
    const channel = Math.floor((i - clip) / (T * PLANE))
    const [c, t, y, x] = from(channel, Math.floor(i / PLANE) % T, Math.floor(i / S) % S, i % S)
    const value = clips[clip + at(c, t, y, x)]! * std[c]! + mean[c]!
    return (value - mean[channel]!) / std[channel]!
  })
}

function softmax(logits: Float32Array): number[] {
  const highest = Math.max(...logits)
  const powers = Array.from(logits, v => Math.exp(v - highest))
  const sum = powers.reduce((a, b) => a + b)
  return powers.map(v => v / sum)
}

describe('the demo', () => {
  test('has a name for each class, and two small files of each', () => {
    const labels = readFileSync(join(DEMO, 'labels.txt'), 'utf8').trimEnd().split('\n')
    expect(labels).toEqual(classes)
    const files = labels.flatMap(label =>
      readdirSync(join(DEMO, 'videos', label)).map(name => `${label}/${name}`),
    )
    expect(readdirSync(join(DEMO, 'videos')).sort()).toEqual(labels.toSorted())
    expect(files.sort()).toEqual(expected.files.map(f => f.file).sort())
    for (const label of labels.keys()) expect(expected.files.filter(f => f.label === label)).toHaveLength(2)
    for (const file of files) expect(statSync(join(DEMO, 'videos', file)).size).toBeLessThan(40_000)
    expect(statSync(join(DEMO, 'demo.safetensors')).size).toBeLessThan(2_000_000)
  })

  test('is what its configuration names, and is recognised from its tensors', () => {
    expect(config.videoRoot).toBe(join(DEMO, 'videos'))
    expect(config.weights).toBe(join(DEMO, 'demo.safetensors'))
    expect(config.labels).toBe(join(DEMO, 'labels.txt'))
    expect(preprocessingOf(options)).toMatchObject({ formula: 'rnb', size: S })
    expect(options.clip_frames).toBe(T)
    const { architecture } = networkArchitecture({ weights: config.weights, seed: 0 })
    expect(architecture).toMatchObject({
      layout: 'torchvision',
      blocks: [2, 2, 2, 2],
      widths: [8, 16, 32, 64],
      stemMid: 16,
      classes: classes.length,
    })
  })
})

describe('the whole path, from file to scores', () => {
  const most = Math.max(...expected.files.map(f => f.clips.length))
  let reader: ClipReader
  let executor: NetworkExecutor
  /** Clips of each file, [clips, 3, T, S, S]. */
  const inputs = new Map<string, Float32Array>()

  beforeAll(async () => {
    reader = new ClipReader(options)
    const network = loadNetwork({ weights: config.weights, seed: 0 })
    executor = createCpuExecutor({
      network,
      startIndex: 1,
      endIndex: 5,
      frames: T,
      size: S,
      maxClips: most,
      threads: 2,
    })
    for (const { file, frames, clips } of expected.files) {
      const video = await openVideo(join(DEMO, 'videos', file))
      expect(video.frames).toBe(frames)
      const input = new Float32Array(clips.length * CLIP)
      await reader.read(
        video,
        clips.map(({ first }) => ({ first, count: T })),
        input,
      )
      video.close()
      inputs.set(file, input)
    }
  }, TIMEOUT)

  afterAll(() => {
    reader?.close()
    executor?.close()
  })

  function scoresOf(input: Float32Array): number[][] {
    const clips = input.length / CLIP
    const output = new Float32Array(clips * classes.length)
    executor.run(input, clips, output)
    return Array.from({ length: clips }, (_, i) =>
      softmax(output.subarray(i * classes.length, (i + 1) * classes.length)),
    )
  }

  /** The highest class of each clip of a file. */
  const labelsOf = (input: Float32Array): number[] =>
    scoresOf(input).map(scores => scores.indexOf(Math.max(...scores)))

  test(
    "scores are those of FFmpeg's frames and torch's network",
    () => {
      for (const { file, clips } of expected.files) {
        const scores = scoresOf(inputs.get(file)!)
        const off = clips.map((clip, i) => clip.softmax.map((score, k) => Math.abs(score - scores[i]![k]!)))
        expect([file, Math.max(...off.flat()) < TOLERANCE]).toEqual([file, true])
      }
    },
    TIMEOUT,
  )

  test(
    'labels come out right for at least 15 of the 16 files, wherever the clip is',
    () => {
      const hits = expected.files.map(({ file, label }) =>
        labelsOf(inputs.get(file)!).map(guess => guess === label),
      )
      for (const position of Array(most).keys())
        expect(hits.filter(file => file[position]).length).toBeGreaterThanOrEqual(15)
    },
    TIMEOUT,
  )

  // That these labels turn shows that the ones above would, had the path mixed up channels, time or sides.
  test.each([
    ['red and blue swapped', OPPOSITE, (c, t, y, x) => [2 - c, t, y, x]],
    ['frames reversed', OPPOSITE, (c, t, y, x) => [c, T - 1 - t, y, x]],
    ['mirrored', MIRRORED, (c, t, y, x) => [c, t, y, S - 1 - x]],
  ] as [string, number[], Parameters<typeof rearranged>[1]][])(
    '%s, labels turn',
    (_, becomes, from) => {
      for (const { file, label, clips } of expected.files) {
        const labels = labelsOf(rearranged(inputs.get(file)!, from))
        expect([file, labels]).toEqual([file, clips.map(() => becomes[label]!)])
      }
    },
    TIMEOUT,
  )
})
