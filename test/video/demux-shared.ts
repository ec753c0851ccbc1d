import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Frame } from '../../src/video/types.ts'

/** What video-truth.py wrote of a file: FFmpeg's word. */
export interface Truth {
  readable?: false
  codec_name: string
  width: number
  height: number
  color_space?: string
  color_range?: string
  /** Counter-clockwise. */
  rotation?: number
  frames: number
  frames_md5: string
  decode_errors: number
  keyframes?: number[]
}

/** The folder of test videos, beside the repository; whoever clones it does not have that. */
export const videosFolder = fileURLToPath(new URL('../../../shared/videos/', import.meta.url))
export const haveVideos = existsSync(`${videosFolder}truth.json`)
if (!haveVideos) console.warn(`skipping tests of real videos: there is no ${videosFolder}`)

export const truth: Record<string, Truth> = haveVideos
  ? JSON.parse(readFileSync(`${videosFolder}truth.json`, 'utf8'))
  : {}

/** Files that FFmpeg reads without complaint. */
export const cleanVideos = Object.keys(truth).filter(
  name => truth[name]!.readable !== false && truth[name]!.decode_errors === 0,
)

/** MD5 of a frame's samples, plane by plane without padding: FFmpeg's framemd5. */
export function frameMd5({ format, width, height, planes }: Frame): string {
  const md5 = new Bun.CryptoHasher('md5')
  planes.forEach(({ data, stride }, plane) => {
    const halfWidth = plane > 0 && /42[02]/.test(format)
    const halfHeight = plane > 0 && /420/.test(format)
    const columns = halfWidth ? (width + 1) >> 1 : width
    const rows = halfHeight ? (height + 1) >> 1 : height
    for (let row = 0; row < rows; row++) {
      const line = data.subarray(row * stride, row * stride + columns)
      md5.update(new Uint8Array(line.buffer, line.byteOffset, line.byteLength))
    }
  })
  return md5.digest('hex')
}

export const md5Of = (text: string): string => new Bun.CryptoHasher('md5').update(text).digest('hex')

/** The numbers from `first` on. */
export const range = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i)

/** The ranks of the keyframes among all packets in presentation order, as truth.json has them. */
export function keyframeRanks(video: {
  presentation: { rank: Int32Array }
  keyframes: { has(position: number): boolean }
}): number[] {
  const { rank } = video.presentation
  return [...rank.keys()]
    .filter(position => video.keyframes.has(position))
    .map(position => rank[position]!)
    .sort((a, b) => a - b)
}
