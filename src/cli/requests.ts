import { dirname, resolve } from 'node:path'
import { type Arrival, meanIntervalOf } from '../client/arrival.ts'
import { drawSchedule } from '../client/schedule.ts'
import { readTrace } from '../client/trace.ts'
import { drawVideos, findVideos, type VideoFile } from '../client/videos.ts'
import { UsageError } from '../errors.ts'
import type { Config } from '../pipeline/config.ts'
import { ModuleError } from '../steps/user/fault.ts'
import { isModulePath } from '../steps/user/module.ts'
import { userVideos } from '../steps/user/videos.ts'
import { arrivalOf, MOST_REQUESTS, type RunFlags } from './arguments.ts'

/** The requests of a run: how many, when, and for which videos. */
export interface Requests {
  arrival: Arrival
  /** Intended arrivals in ns from the start, ascending; without meaning in a closed loop. */
  schedule: Float64Array
  /** Paths of videos, and for each request the place of its own. */
  videos: string[]
  /** Class of each video, where its folder or the iterator says one. */
  classes: (string | undefined)[]
  requestVideo: Uint32Array
  /** Mean time between arrivals; 0 where they have no rate. */
  meanIntervalMs: number
}

const DEFAULT_VIDEOS = 2000

/** The most requests: where a duration ends the schedule by itself, one more than there may be. */
function limitOf({ videos, duration }: RunFlags, { kind }: Arrival): number {
  if (videos !== undefined) return videos
  if (kind === 'trace') return MOST_REQUESTS + 1
  const ends = duration !== undefined && kind !== 'bulk' && kind !== 'closed'
  return ends ? MOST_REQUESTS + 1 : DEFAULT_VIDEOS
}

type Videos = Pick<Requests, 'videos' | 'classes' | 'requestVideo'>

const chosen = (files: readonly VideoFile[], requestVideo: Uint32Array): Videos => ({
  videos: files.map(({ path }) => path),
  classes: files.map(video => video.class),
  requestVideo,
})

/** The video of each of `count` requests, as the flags or the pipeline file say. @throws {UsageError} */
async function chooseVideos(flags: RunFlags, config: Config, count: number): Promise<Videos> {
  const root = flags.video_root ?? config.videoRoot
  if (isModulePath(config.iterator)) {
    const folder = dirname(resolve(config.file ?? '.'))
    try {
      const found = await userVideos(config.iterator, count, { root, folder, seed: flags.seed })
      return chosen(found.videos, found.requestVideo)
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error
      throw new UsageError(`${config.file ?? config.name}: video_path_iterator: ${error.message}`)
    }
  }
  if (root === undefined && config.steps[0]!.kind.needsVideos === false)
    return chosen([{ path: 'none' }], new Uint32Array(count))
  if (root === undefined)
    throw new UsageError(
      'no videos: give --video-root DIR, GLOB or LIST.txt, or video_root in the pipeline file',
    )
  const videos = findVideos(root)
  return chosen(videos, drawVideos(count, videos, flags.seed))
}

/** When requests arrive, and the videos that they name if it is the trace that says so. */
function scheduleOf(
  flags: RunFlags,
  arrival: Arrival,
  limit: number,
): { times: Float64Array; videos?: string[] } {
  const { duration, seed } = flags
  if (arrival.kind === 'trace') return readTrace(arrival.file, limit, duration)
  if (arrival.kind === 'closed') return { times: new Float64Array(limit) }
  return { times: drawSchedule(arrival, { videos: limit, durationS: duration, seed }) }
}

/** Each video once, and which of them each request names. */
function indexed(named: readonly string[]): Videos {
  const places = new Map<string, number>()
  for (const video of named) if (!places.has(video)) places.set(video, places.size)
  const files = [...places.keys()].map(path => ({ path }))
  return chosen(
    files,
    Uint32Array.from(named, video => places.get(video)!),
  )
}

/**
 * Works out the requests that the flags ask for.
 * @param named videos to take once each, in this order, in place of a drawn sequence
 * @throws {UsageError}
 */
export async function requestsOf(
  flags: RunFlags,
  config: Config,
  named?: readonly string[],
): Promise<Requests> {
  const arrival = arrivalOf(flags)
  const schedule = scheduleOf(flags, arrival, named?.length ?? limitOf(flags, arrival))
  const { times } = schedule
  if (times.length > MOST_REQUESTS)
    throw new UsageError(
      `these arrivals come to more than ${MOST_REQUESTS} requests; --videos and --duration limit them`,
    )
  if (schedule.videos && flags.video_root !== undefined)
    throw new UsageError('--video-root has no use where the trace of --arrival names the videos; remove it')
  const fixed = named ?? schedule.videos
  return {
    arrival,
    schedule: times,
    ...(fixed ? indexed(fixed) : await chooseVideos(flags, config, times.length)),
    meanIntervalMs: meanIntervalOf(arrival, times),
  }
}
