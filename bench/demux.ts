/**
 * What a request costs before decoding: opening a video, and reading the packets of one random clip of 8 frames; and how
 * many frames are then to be decoded, against decoding all from the keyframe on.
 *
 *     bun bench/demux.ts [--json] [--requests N] [FILE...] > bench/results/demux.json
 *
 * JSON on stdout, a table on stderr (not with --json). rnb's reading of a container, mediabunny's for all of it, and
 * libavformat's take turns, a request each, after a warm-up of as many requests; libavformat's reads all of the file at
 * opening. Files are in the page cache.
 */
import { cpus, loadavg } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { mean, quantile } from 'simple-statistics'
import { Rng } from '../src/rng.ts'
import { ContainerDemuxer } from '../src/video/container-demuxer.ts'
import type { ContainerVideo } from '../src/video/container-video.ts'
import { dependentPackets } from '../src/video/dependencies/packets.ts'
import { picture } from '../src/video/dependencies/picture.ts'
import { LibavDemuxer } from '../src/video/libav-demuxer.ts'
import type { Demuxer, Packet } from '../src/video/types.ts'

const CLIP_FRAMES = 8
const NAMES = ['kinetics-340x256-h264.mp4', 'kinetics-340x256-h264.mkv', 'kinetics-340x256-h264.ts']
const MORE = ['kinetics-340x256-hevc.mp4', 'kinetics-340x256-av1.mp4', 'phone-1920x1080-h264.mp4']

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: { json: { type: 'boolean' }, requests: { type: 'string', default: '1000' } },
  allowPositionals: true,
})
const videos = join(import.meta.dir, '../../shared/videos')
const files = positionals.length > 0 ? positionals : [...NAMES, ...MORE].map(name => join(videos, name))
const requests = Number(options.requests)

/** One request's times in milliseconds, and its packets. */
interface Request {
  openMs: number
  packetsMs: number
  packets: number
}

function clipOf(frames: number, rng: Rng): number[] {
  const first = rng.int(frames - CLIP_FRAMES + 1)
  return Array.from({ length: CLIP_FRAMES }, (_, i) => first + i)
}

async function count(packets: AsyncIterable<Packet> | Iterable<Packet>): Promise<number> {
  let sent = 0
  if (Symbol.iterator in packets) for (const _ of packets) sent++
  else for await (const _ of packets) sent++
  return sent
}

async function request(demuxer: Demuxer, file: string, rng: Rng): Promise<Request> {
  const start = performance.now()
  const video = await demuxer.open(file)
  const opened = performance.now()
  const packets = await count(video.packets(clipOf(video.frames, rng)))
  const read = performance.now()
  video.close()
  return { openMs: opened - start, packetsMs: read - opened, packets }
}

/** Frames to decode for every clip there is: on average, as planned, and if nothing were left out. */
async function framesPerClip(video: ContainerVideo) {
  const { presentation, keyframes } = video
  const everything = {
    presentation,
    keyframes,
    read: video.read.bind(video),
    pictures: () => () => picture(),
  }
  const planned: number[] = []
  const unskipped: number[] = []
  for (let first = 0; first + CLIP_FRAMES <= video.frames; first++) {
    const wanted = Array.from({ length: CLIP_FRAMES }, (_, i) => first + i)
    planned.push(await count(video.packets(wanted)))
    unskipped.push(await count(dependentPackets(everything, wanted)))
  }
  return { clips: planned.length, planned: mean(planned), withoutSkipping: mean(unskipped) }
}

function summary(all: Request[]) {
  const times = (of: (r: Request) => number) => {
    const sorted = all.map(of)
    return { p10: quantile(sorted, 0.1), p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
  }
  return {
    openMs: times(r => r.openMs),
    packetsMs: times(r => r.packetsMs),
    requestMs: times(r => r.openMs + r.packetsMs),
    packets: mean(all.map(r => r.packets)),
  }
}

async function measure(file: string) {
  const own = new ContainerDemuxer()
  const mediabunny = new ContainerDemuxer(false)
  const libav = new LibavDemuxer()
  const results: Record<'own' | 'mediabunny' | 'libav', Request[]> = { own: [], mediabunny: [], libav: [] }
  for (let i = 0; i < 2 * requests; i++) {
    const ours = await request(own, file, Rng.of(1, i))
    const theirs = await request(mediabunny, file, Rng.of(1, i))
    const libavs = await request(libav, file, Rng.of(1, i))
    if (i < requests) continue
    results.own.push(ours)
    results.mediabunny.push(theirs)
    results.libav.push(libavs)
  }
  const video = await own.open(file)
  const frames = await framesPerClip(video)
  video.close()
  return {
    file: basename(file),
    frames,
    own: summary(results.own),
    mediabunny: summary(results.mediabunny),
    libavformat: summary(results.libav),
  }
}

const load = loadavg()[0]
const results = []
for (const file of files) results.push(await measure(file))
console.log(
  JSON.stringify(
    {
      benchmark: 'demux',
      command: `bun bench/demux.ts --requests ${requests}`,
      date: new Date().toISOString(),
      machine: { processor: cpus()[0]?.model, threads: cpus().length },
      versions: { bun: Bun.version },
      loadBefore: load,
      requests,
      results,
    },
    null,
    1,
  ),
)
if (!options.json) {
  const ms = (n: number) => n.toFixed(3).padStart(9)
  console.error(
    `${'ms a request'.padEnd(30)}  open p50  packets p50  both p50  both p99  mediabunny  libav p50  frames a clip`,
  )
  for (const { file, frames, own, mediabunny, libavformat } of results) {
    const { openMs, packetsMs, requestMs } = own
    console.error(
      `${file.padEnd(30)} ${ms(openMs.p50)}    ${ms(packetsMs.p50)} ${ms(requestMs.p50)} ${ms(requestMs.p99)}   ${ms(mediabunny.requestMs.p50)}  ${ms(libavformat.requestMs.p50)}  ${frames.planned.toFixed(2)} of ${frames.withoutSkipping.toFixed(2)}`,
    )
  }
}
