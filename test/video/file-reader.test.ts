import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileReader } from '../../src/video/file-reader.ts'
import { openVideo } from '../../src/video/open.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-file-reader-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const small = file('small', new Uint8Array(300_000).fill(1))
const smaller = file('smaller', new Uint8Array(1000).fill(2))
const large = file('large', new Uint8Array(700_000).fill(3))

describe('memory of small files', () => {
  test('is used again: a thousand files, one after the other, take that of one', () => {
    const buffers = new Set<ArrayBufferLike>()
    for (let i = 0; i < 1000; i++) {
      const reader = FileReader.open(i % 2 ? small : smaller)
      expect(reader.bytes).toHaveLength(i % 2 ? 300_000 : 1000)
      expect(reader.bytes!.every(byte => byte === (i % 2 ? 1 : 2))).toBe(true)
      buffers.add(reader.bytes!.buffer)
      reader.close()
    }
    expect(buffers.size).toBe(1)
  })

  test('is that of one file at a time, also if one is closed twice', () => {
    const first = FileReader.open(small)
    first.close()
    first.close()
    const second = FileReader.open(small)
    const third = FileReader.open(smaller)
    expect(third.bytes!.buffer).not.toBe(second.bytes!.buffer)
    expect(second.read(10, 20)).toEqual(new Uint8Array(10).fill(1))
    expect(third.read(10, 20)).toEqual(new Uint8Array(10).fill(2))
    second.close()
    third.close()
  })

  test('is not read after the file is closed', () => {
    const reader = FileReader.open(small)
    reader.close()
    expect(() => reader.read(0, 10)).toThrow('read from a closed file')
  })
})

test('of a large file, parts are read', () => {
  const reader = FileReader.open(large)
  expect(reader.bytes).toBeUndefined()
  expect(reader.read(699_990, 700_000)).toEqual(new Uint8Array(10).fill(3))
  reader.close()
  expect(() => reader.read(0, 10)).toThrow('read from a closed file')
})

test('what is known of a stream outlives its file', async () => {
  const demo = join(import.meta.dir, '../../models/demo/videos')
  const paths = [...new Bun.Glob('**/*.mp4').scanSync({ cwd: demo, absolute: true })].sort()
  const video = await openVideo(paths[0]!)
  const before = video.info.description!.slice()
  video.close()
  const other = FileReader.open(small)
  expect(other.bytes!.every(byte => byte === 1)).toBe(true)
  expect(video.info.description).toEqual(before)
  other.close()
})
