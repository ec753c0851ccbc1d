import { resolve } from 'node:path'
import * as v from 'valibot'
import type { VideoPathContext, VideoPathIteratorClass } from './api.ts'
import { ModuleError, moduleError } from './fault.ts'
import { importClass } from './module.ts'

/** What an iterator of the user's gave for each request. */
export interface DrawnVideos {
  /** Absolute, each once. */
  videos: { path: string; class?: string }[]
  /** An index into `videos` for each request. */
  requestVideo: Uint32Array
}

const path = v.pipe(v.string(), v.minLength(1))
const entrySchema = v.union([path, v.strictObject({ path, class: v.optional(v.string()) })])

/** The class of video path iterators that a module exports. @throws {ModuleError} */
export const videosClass = async (file: string): Promise<VideoPathIteratorClass> =>
  (await importClass(file, [Symbol.iterator])) as unknown as VideoPathIteratorClass

/** The first `count` entries of an iterable, again from its start whenever it ends. */
function* cycled(entries: Iterable<unknown>, count: number): Generator<unknown, undefined> {
  for (let taken = 0; taken < count; ) {
    const before = taken
    for (const entry of entries) {
      yield entry
      if (++taken === count) return
    }
    if (taken === before) return
  }
}

/**
 * The video of each of `count` requests, in the order in which an iterator of the user's gives them.
 * @throws {ModuleError} if it throws, gives none, or gives what is no path
 */
export async function userVideos(
  file: string,
  count: number,
  context: VideoPathContext,
): Promise<DrawnVideos> {
  const Class = await videosClass(file)
  const known = new Map<string, number>()
  const videos: DrawnVideos['videos'] = []
  const requestVideo = new Uint32Array(count)
  let request = 0
  try {
    for (const entry of cycled(new Class(context), count)) {
      const parsed = v.safeParse(entrySchema, entry)
      if (!parsed.success)
        throw new ModuleError(
          `${file}: the iterator gave ${Bun.inspect(entry)}; it must give paths, or { path, class }`,
        )
      const given = typeof parsed.output === 'string' ? { path: parsed.output } : parsed.output
      const video = { ...given, path: resolve(context.folder, given.path) }
      const key = JSON.stringify(video)
      let index = known.get(key)
      if (index === undefined) {
        index = videos.push(video) - 1
        known.set(key, index)
      }
      requestVideo[request++] = index
    }
  } catch (error) {
    throw error instanceof ModuleError ? error : moduleError(file, 'the iterator', error)
  }
  if (videos.length === 0) throw new ModuleError(`${file}: the iterator gave no videos`)
  return { videos, requestVideo }
}
