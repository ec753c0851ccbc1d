import { expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bitFlips, firstHalf, unknownCodec, zeroFrames } from './damage.ts'
import { demoVideos, listOf, loader, network, pipeline, Running, scratch } from './rnb.ts'

test('open files do not grow over 200 videos, good and bad', async () => {
  const folder = scratch()
  const good = demoVideos[0]!
  const bad = {
    half: firstHalf(good),
    flips: bitFlips(good),
    codec: unknownCodec(good),
    zero: zeroFrames(good),
  }
  const broken = Object.entries(bad).map(([name, bytes]) => {
    const path = join(folder, `${name}.mp4`)
    writeFileSync(path, bytes)
    return path
  })
  // Small clips: it is about files, not about the network.
  const config = pipeline([loader({ size: 32 }), network()])
  const videos = listOf([...demoVideos.slice(0, 4), ...broken, join(folder, 'missing.mp4')])
  const running = new Running([
    ...['run', '-c', config, '--device', 'cpu', '--video-root', videos],
    ...['-v', '200', '-mi', '0', '--results', '-', '--quiet'],
  ])
  const open: number[] = []
  for (let line = 1; line <= 180; line++) {
    await running.line()
    if (line >= 20 && line % 10 === 0) open.push(readdirSync(`/proc/${running.pid}/fd`).length)
  }
  const { status, results, errors } = await running.ended()
  expect(status).toBe(0)
  expect(results.length + errors.length).toBe(200)
  expect(errors.length).toBeGreaterThan(100)
  // A video, its neighbour, and the folder of a moment: whatever a leak of one in nine would leave is far more.
  expect(Math.max(...open) - Math.min(...open)).toBeLessThanOrEqual(6)
})
