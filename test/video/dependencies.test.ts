import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Rng } from '../../src/rng.ts'
import { ContainerDemuxer } from '../../src/video/container-demuxer.ts'
import { dependentPackets, type PacketSource } from '../../src/video/dependencies/packets.ts'
import { picture } from '../../src/video/dependencies/picture.ts'
import { clipRuns, Keyframes } from '../../src/video/dependencies/plan.ts'
import { Presentation } from '../../src/video/presentation.ts'
import type { Packet } from '../../src/video/types.ts'
import { haveVideos, range, videosFolder } from './demux-shared.ts'
import pictures from './fixtures/pictures.fixture.json'

/** What FFmpeg says of a stream's packets, in decode order; see fixtures/make_pictures.py. */
interface Table {
  times: number[]
  key: string
  shown: string
  reference: string
}

const tables = pictures as Record<string, Table>

/** Presentation indices by position; -1 where nothing is shown. */
function indices({ times, shown }: Table): number[] {
  const order = times.map((_, p) => p).filter(p => shown[p] === '1')
  order.sort((a, b) => times[a]! - times[b]!)
  const index = times.map(() => -1)
  order.forEach((p, i) => {
    index[p] = i
  })
  return index
}

/**
 * The definition, word for word: from the last keyframe whose timestamp is not after the first wanted frame's, its
 * leading pictures dropped, then reference pictures and the wanted ones, up to the last wanted.
 */
function byDefinition(table: Table, index: number[], wanted: number[]): number[] {
  const { times, key, reference } = table
  const positions = wanted.map(frame => index.indexOf(frame))
  const first = times[positions[0]!]!
  const keys = times.map((_, p) => p).filter(p => key[p] === '1' && times[p]! <= first)
  const start = keys.reduce((best, p) => (times[p]! > times[best]! ? p : best))
  const end = Math.max(...positions)
  return range(start, end - start + 1).filter(
    p => positions.includes(p) || p === start || (reference[p] === '1' && times[p]! >= times[start]!),
  )
}

async function collect(packets: AsyncIterable<Packet> | Iterable<Packet>): Promise<Packet[]> {
  const all: Packet[] = []
  for await (const packet of packets) all.push(packet)
  return all
}

describe.skipIf(!haveVideos)('packets of real videos', () => {
  test.each(Object.keys(tables))(
    '%s: every clip of 8 frames gets what it depends on, no more',
    async name => {
      const table = tables[name]!
      const index = indices(table)
      const video = await new ContainerDemuxer().open(videosFolder + name)
      for (let first = 0; first + 8 <= video.frames; first++) {
        const wanted = range(first, 8)
        const seen = (await collect(video.packets(wanted))).map(packet => Math.max(packet.index, -1))
        expect(seen).toEqual(byDefinition(table, index, wanted).map(p => index[p]!))
      }
      video.close()
    },
  )

  test('a clip of kinetics-340x256-h264.mp4 takes 26 frames on average, 41 without leaving any out', async () => {
    const video = await new ContainerDemuxer().open(`${videosFolder}kinetics-340x256-h264.mp4`)
    const table = tables['kinetics-340x256-h264.mp4']!
    const everything = { ...table, reference: table.reference.replaceAll('0', '1') }
    const index = indices(table)
    let sent = 0
    let without = 0
    const clips = video.frames - 7
    for (let first = 0; first < clips; first++) {
      sent += (await collect(video.packets(range(first, 8)))).length
      without += byDefinition(everything, index, range(first, 8)).length
    }
    expect(Math.round(sent / clips)).toBe(26)
    expect(Math.round(without / clips)).toBe(41)
    video.close()
  })

  test('clips apart restart at keyframes; whole groups of pictures between them are left out', async () => {
    const video = await new ContainerDemuxer().open(`${videosFolder}kinetics-opengop-h264.mp4`)
    const packets = await collect(
      video.packets([...range(2, 4), ...range(65, 4), ...range(70, 2), ...range(155, 3)]),
    )
    expect(packets.filter(packet => packet.restart).map(packet => packet.index)).toEqual([60, 150])
    expect(packets.filter(({ index }) => index > 10 && index < 60)).toEqual([])
    expect(packets.filter(({ index }) => index > 80 && index < 150)).toEqual([])
    video.close()
  })
})

/** A made-up stream: groups of pictures with leading pictures, non-references, and false keyframes. */
interface Made {
  time: number
  /** What the container says. */
  key: boolean
  entry: boolean
  closed: boolean
  reference: boolean
  empty: boolean
}

const group = fc.record({
  closed: fc.boolean(),
  truly: fc.boolean(),
  leading: fc.integer({ min: 0, max: 3 }),
  body: fc.array(
    fc.record({ reference: fc.boolean(), back: fc.integer({ min: 0, max: 3 }), empty: fc.boolean() }),
    {
      maxLength: 12,
    },
  ),
})

const stream = fc.array(group, { minLength: 1, maxLength: 5 }).map(groups => {
  const made: Made[] = []
  let time = 0
  for (const { closed, truly, leading, body } of groups) {
    const key = time + leading
    const plain = { key: false, entry: false, closed: false, empty: false }
    made.push({
      time: key,
      key: true,
      entry: truly || made.length === 0,
      closed,
      reference: true,
      empty: false,
    })
    for (let i = 0; i < leading; i++) made.push({ ...plain, time: time + i, reference: i % 2 === 0 })
    time = key + 1
    for (const { reference, back, empty } of body) {
      made.push({ ...plain, time: Math.max(key + 0.5, time - back - 0.25), reference, empty })
      time++
    }
  }
  return made
})

function sourceOf(made: Made[]): PacketSource & { reads: number[] } {
  const presentation = new Presentation(
    made.map(({ time }) => time),
    position => !made[position]!.empty,
  )
  const reads: number[] = []
  return {
    reads,
    presentation,
    keyframes: new Keyframes(presentation, position => made[position]!.key),
    read(position) {
      reads.push(position)
      return made[position]!.empty ? new Uint8Array(0) : Uint8Array.of(position)
    },
    pictures: () => data => {
      const { entry, closed, reference } = made[data[0]!]!
      return picture({ entry, closed, reference })
    },
  }
}

test('of any stream, wanted frames come once each in decode order, with their references, from a true entry', async () => {
  await fc.assert(
    fc.asyncProperty(stream, fc.infiniteStream(fc.nat()), async (made, numbers) => {
      const source = sourceOf(made)
      const { presentation } = source
      const wanted = [...range(0, presentation.frames)].filter(
        () => (numbers.next().value as number) % 3 === 0,
      )
      const packets = await collect(dependentPackets(source, wanted))
      const positions = packets.map(({ data }) => data[0]!)
      expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b))
      const sent = new Set(packets.map(({ index }) => index))
      expect(wanted.filter(index => !sent.has(index))).toEqual([])
      expect(packets.every(({ data }) => data.length > 0)).toBe(true)
      const starts = packets.flatMap((packet, i) => (i === 0 || packet.restart ? [i] : []))
      for (const [s, from] of starts.entries()) {
        const stretch = positions.slice(from, starts[s + 1])
        const start = stretch[0]!
        expect(made[start]!.entry || start === 0).toBe(true)
        const end = stretch.at(-1)!
        expect(wanted).toContain(presentation.index[end]!)
        for (let p = start; p <= end; p++) {
          const { reference, empty } = made[p]!
          const leading = made[start]!.entry && !made[start]!.closed && made[p]!.time < made[start]!.time
          if (reference && !empty && !leading) expect(stretch).toContain(p)
        }
        // A stretch would not have to begin any earlier.
        const times = stretch.filter(p => wanted.includes(presentation.index[p]!)).map(p => made[p]!.time)
        const later = made.findIndex(
          (m, p) =>
            p > start &&
            p <= end &&
            m.entry &&
            m.key &&
            m.time <= Math.min(...times) &&
            m.time > made[start]!.time,
        )
        expect(later).toBe(-1)
      }
    }),
    { numRuns: 300, seed: 2 },
  )
})

test('a picture that lingers is left out only before one that is fresh', async () => {
  // Key, then pairs (lingering non-reference, reference) of which the second is fresh or not.
  const fresh = [true, true, false, true, true, true, false]
  const times = range(0, fresh.length)
  const presentation = new Presentation(times)
  const source: PacketSource = {
    presentation,
    keyframes: new Keyframes(presentation, position => position === 0),
    read: position => Uint8Array.of(position),
    pictures:
      () =>
      ([position = 0]) =>
        picture({
          entry: position === 0,
          reference: position % 2 === 0,
          lingers: position % 2 === 1,
          fresh: fresh[position]!,
        }),
  }
  const indices = async (wanted: number[]) =>
    (await collect(dependentPackets(source, wanted))).map(p => p.index)
  expect(await indices([6])).toEqual([0, 1, 2, 4, 5, 6])
  expect(await indices([4])).toEqual([0, 1, 2, 4])
  expect(await indices([5])).toEqual([0, 1, 2, 4, 5])
})

test('the same clips ask for the same packets each time', async () => {
  const made = fc.sample(stream, { numRuns: 1, seed: 5 })[0]!
  const source = sourceOf(made)
  const rng = Rng.of(3)
  const wanted = range(0, source.presentation.frames).filter(() => rng.next() < 0.3)
  const first = await collect(dependentPackets(source, wanted))
  expect(await collect(dependentPackets(source, wanted))).toEqual(first)
})

describe('runs of clips', () => {
  test('go with their keyframes, and say how many packets lie from there to the last frame', () => {
    // I B P B  I B P B, as coded: I P B B  I P B B
    const presentation = new Presentation([0, 2, 1, 3, 4, 6, 5, 7])
    const keyframes = new Keyframes(presentation, position => position === 0 || position === 4)
    const clips = [
      { first: 0, count: 1 },
      { first: 1, count: 2 },
      { first: 3, count: 2 },
      { first: 6, count: 1 },
    ]
    expect(clipRuns(presentation, keyframes, clips)).toEqual([
      { first: 0, count: 3, packets: 5 },
      { first: 3, count: 1, packets: 2 },
    ])
  })

  test.skipIf(!haveVideos)(
    'of real videos: decoded apart, they give the frames that all give together',
    async () => {
      for (const name of Object.keys(tables)) {
        const table = tables[name]!
        const index = indices(table)
        const video = await new ContainerDemuxer().open(videosFolder + name)
        const spacing = Math.floor(video.frames / 6)
        if (spacing < 8) continue
        const clips = range(0, 6).map(i => ({ first: i * spacing, count: 8 }))
        const runs = video.runs(clips)
        expect(runs.reduce((sum, { count }) => sum + count, 0)).toBe(clips.length)
        for (const [i, { first, count }] of runs.entries()) {
          expect(first).toBe(i === 0 ? 0 : runs[i - 1]!.first + runs[i - 1]!.count)
          // All clips of a run, and no others, start at the keyframe that FFmpeg's flags give them.
          const entryOf = (clip: number) => byDefinition(table, index, range(clips[clip]!.first, 8))[0]
          for (const clip of range(first, count)) expect(entryOf(clip)).toBe(entryOf(first)!)
          if (i > 0) expect(entryOf(first - 1)).not.toBe(entryOf(first))
        }
        video.close()
      }
    },
  )
})
