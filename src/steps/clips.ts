import { edenGC } from 'bun:jsc'
import { threadCpuNs } from '../../ffi/libc.ts'
import type { Item } from '../queue/item.ts'
import { Rng } from '../rng.ts'
import { openVideo } from '../video/open.ts'
import { sampleClips } from '../video/sampler.ts'
import type { Clip, Video } from '../video/types.ts'
import type { ClipOptions } from './clip-options.ts'
import type { Emit, Piece, PieceFacts, StepContext } from './step.ts'

/** What was read of a video. */
export interface ReadFacts {
  /** Frames that the clips consist of, each counted once. */
  framesNeeded: number
  framesDecoded: number
  decoder: string
}

/** Where a frame goes: which clip, and which of its frames. */
export interface FramePlace {
  clip: number
  time: number
}

/** The frames that clips consist of: presentation indices, ascending, and where each of them goes. */
export function wantedFrames(clips: readonly Clip[]): {
  indices: number[]
  places: ReadonlyMap<number, FramePlace[]>
} {
  const places = new Map<number, FramePlace[]>()
  clips.forEach(({ first, count }, clip) => {
    for (let time = 0; time < count; time++) {
      const known = places.get(first + time)
      if (known) known.push({ clip, time })
      else places.set(first + time, [{ clip, time }])
    }
  })
  return { indices: [...places.keys()].sort((a, b) => a - b), places }
}

/** The clips of a request: the same for the same seed, request number and video length. */
export function clipsOf(video: Video, options: ClipOptions, seed: number, request: number): Clip[] {
  const { num_clips_population: population, num_clips_weights: weights, clip_frames } = options
  const rng = Rng.of(seed, 'clips', request)
  return sampleClips(video.frames, { clipFrames: clip_frames, population, weights }, rng)
}

/**
 * Requests of a thread after which what is young of its garbage is collected, a pause of about a millisecond, and all of it, a
 * pause of some 10 ms: a long time between would be memory that grows until all threads have had theirs.
 */
const COLLECT_YOUNG_EVERY = 25
const COLLECT_EVERY = 100
let uncollected: number | undefined

/** JavaScriptCore lets the heaps of many threads grow for long before it collects them. */
function collectGarbage(worker: number): void {
  // Not all threads at once.
  uncollected ??= (worker * 37) % COLLECT_EVERY
  uncollected++
  if (uncollected % COLLECT_YOUNG_EVERY !== 0) return
  if (uncollected < COLLECT_EVERY) edenGC()
  else {
    uncollected = 0
    Bun.gc(true)
  }
}

/** Reads clips of a video into the rows of an item. @throws {VideoError} */
export type ReadClips = (video: Video, clips: Clip[], out: Item) => Promise<ReadFacts>

/** Some rows of an item, as an item. */
const rowsOf = (item: Item, { first, count }: Piece): Item => ({
  ...item,
  tensors: item.tensors.map(ref => ({ ...ref, row: ref.row + first, shape: [count, ...ref.shape.slice(1)] })),
})

/** Clips in pieces that can be read apart, the largest first. */
const piecesOf = (video: Video, clips: readonly Clip[]): Piece[] =>
  video
    .runs(clips)
    .sort((a, b) => b.packets - a.packets)
    .map(({ first, count }) => ({ first, count }))

/** Reads all clips, on threads of the instance that have nothing else to do where they may share. */
async function readTogether(
  { team }: StepContext,
  video: Video,
  clips: Clip[],
  out: Item,
  read: ReadClips,
): Promise<PieceFacts & { othersUs: number }> {
  if (!team || clips.length < 2) return { ...(await read(video, clips, out)), othersUs: 0 }
  return team.share(out, piecesOf(video, clips), piece =>
    read(video, clips.slice(piece.first, piece.first + piece.count), rowsOf(out, piece)),
  )
}

/** Reads a piece of the clips that another thread is loading. @throws {VideoError} */
export async function helpLoading(
  context: StepContext,
  out: Item,
  piece: Piece,
  read: ReadClips,
): Promise<ReadFacts> {
  const { request } = out.shares[0]!
  const video = await context.timed('open', () => openVideo(context.video(request)))
  try {
    const clips = clipsOf(video, context.options as ClipOptions, context.settings.seed, request)
    const own = clips.slice(piece.first, piece.first + piece.count)
    return await context.timed('decode', () => read(video, own, rowsOf(out, piece)))
  } finally {
    video.close()
  }
}

/**
 * Opens the video of an item's request, samples its clips, has them read into a slot, and emits that.
 * @throws {VideoError}
 */
export async function loadClips(
  context: StepContext,
  item: Item,
  emit: Emit,
  read: ReadClips,
): Promise<void> {
  const share = item.shares[0]!
  const cpuBegin = threadCpuNs()
  const video = await context.timed('open', () => openVideo(context.video(share.request)))
  try {
    const clips = clipsOf(video, context.options as ClipOptions, context.settings.seed, share.request)
    const out: Item = {
      shares: [{ ...share, clips: clips.length }],
      ...context.allocate(clips.length),
      values: [],
    }
    const { othersUs, ...facts } = await context.timed('decode', () =>
      readTogether(context, video, clips, out, read),
    )
    const cpuUs = Math.round((threadCpuNs() - cpuBegin) / 1000) + othersUs
    context.note(share.request, { clips: clips.length, ...facts, cpuUs })
    emit(out)
  } finally {
    video.close()
  }
  collectGarbage(context.worker)
}
