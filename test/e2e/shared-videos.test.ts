import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { oneClip, run, sharedVideos } from './rnb.ts'

/** What the files that are broken on purpose come to; a damaged one may also give a clip that is whole. */
const BROKEN: Record<string, string[]> = {
  'broken-audio-only.mp4': ['no_video_stream'],
  'broken-bitflips.mp4': ['damaged', 'result'],
  'broken-empty.mp4': ['empty'],
  'broken-text.mp4': ['not_a_video'],
  'broken-truncated.mp4': ['truncated'],
  'tour-960x540-h264-damaged.mp4': ['damaged', 'result'],
}

test.skipIf(!sharedVideos)('real videos: one result or one error for each that was asked for', async () => {
  const names = readdirSync(sharedVideos!).filter(name => !/\.(md|json)$/.test(name))
  const truth = JSON.parse(readFileSync(join(sharedVideos!, 'truth.json'), 'utf8')) as Record<string, unknown>
  const seeds = ['1', '2']
  for (const seed of seeds) {
    const outcome = await run(oneClip(), [
      ...['--video-root', sharedVideos!, '-v', String(names.length), '-mi', '0', '--seed', seed],
    ])
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    expect(Object.keys(truth).sort()).toEqual(names.sort())
    const found = [...outcome.results, ...outcome.errors].map(line => {
      const name = line.video.slice(sharedVideos!.length + 1)
      return [name, line.type === 'error' ? line.code : 'result'] as const
    })
    expect(found.map(([name]) => name).sort()).toEqual(names)
    for (const [name, ending] of found) expect(BROKEN[name] ?? ['result'], name).toContain(ending)
  }
})
