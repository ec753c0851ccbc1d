import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { drawVideos, findVideos } from '../../src/client/videos.ts'
import { UsageError } from '../../src/errors.ts'

let root = ''
const at = (...parts: string[]): string => join(root, ...parts)

function put(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), '')
  }
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'rnb-videos-'))
  put(
    'classes/run/b.mp4',
    'classes/run/a.MP4',
    'classes/jump/c.mkv',
    'classes/jump/notes.txt',
    'classes/top.webm',
  )
  put('classes/.hidden/d.mp4', 'classes/run/.e.mp4', 'classes/run/deep/f.mp4')
  put('flat/2.mp4', 'flat/10.mp4', 'flat/readme.md', 'flat/Z.avi', 'nothing/readme.md')
  put('odd [1]/x.mp4', 'odd [1]/y.mp4')
  mkdirSync(at('flat/folder.mp4'))
  symlinkSync(at('flat/2.mp4'), at('flat/link.mp4'))
  symlinkSync(at('gone.mp4'), at('flat/broken.mp4'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('a folder', () => {
  test('of folders: each folder is a class; other files, hidden ones and deeper folders are left out', () => {
    expect(findVideos(at('classes'))).toEqual([
      { path: at('classes/top.webm') },
      { path: at('classes/jump/c.mkv'), class: 'jump' },
      { path: at('classes/run/a.MP4'), class: 'run' },
      { path: at('classes/run/b.mp4'), class: 'run' },
    ])
  })

  test('of files: in the order of their names, links followed', () => {
    expect(findVideos(at('flat')).map(video => video.path)).toEqual(
      ['10.mp4', '2.mp4', 'Z.avi', 'link.mp4'].map(name => at('flat', name)),
    )
  })
})

describe('a glob', () => {
  test('matches files of any name, sorted; folders name classes if there are several', () => {
    expect(findVideos(at('classes/*/*'))).toEqual([
      { path: at('classes/jump/c.mkv'), class: 'jump' },
      { path: at('classes/jump/notes.txt'), class: 'jump' },
      { path: at('classes/run/a.MP4'), class: 'run' },
      { path: at('classes/run/b.mp4'), class: 'run' },
    ])
    expect(findVideos(at('flat/*.{mp4,md}'))).toEqual(
      ['10.mp4', '2.mp4', 'link.mp4', 'readme.md'].map(name => ({ path: at('flat', name) })),
    )
  })

  test('goes into folders with **', () => {
    expect(findVideos(at('classes/**/*.mp4')).map(video => video.path)).toEqual([
      at('classes/run/b.mp4'),
      at('classes/run/deep/f.mp4'),
    ])
  })

  test('a folder whose name has the characters of a pattern is itself', () => {
    expect(findVideos(at('odd [1]'))).toHaveLength(2)
    expect(findVideos(at('odd [1]/x*'))).toEqual([{ path: at('odd [1]/x.mp4') }])
  })
})

describe('a list', () => {
  test('is read in its order, relative to itself, whatever it names', () => {
    writeFileSync(
      at('list.txt'),
      '\uFEFF# comment\nflat/2.mp4\r\n\n  classes/run/b.mp4  \n#x\nmissing.mp4\nflat/2.mp4\n/abs/y.mp4',
    )
    expect(findVideos(at('list.txt')).map(video => video.path)).toEqual([
      at('flat/2.mp4'),
      at('classes/run/b.mp4'),
      at('missing.mp4'),
      at('flat/2.mp4'),
      '/abs/y.mp4',
    ])
    expect(findVideos(at('list.txt'))[1]!.class).toBe('run')
  })
})

test('one file is a list of one', () => {
  expect(findVideos(at('flat/readme.md'))).toEqual([{ path: at('flat/readme.md') }])
})

test('nothing found: the message says where it looked', () => {
  writeFileSync(at('empty.txt'), '# nothing\n')
  for (const path of ['nothing', 'gone', 'flat/*.mov', 'nowhere/*.mp4', 'empty.txt']) {
    expect(() => findVideos(at(path))).toThrow(UsageError)
    expect(() => findVideos(at(path))).toThrow(at(path))
  }
})

test.skipIf(process.getuid?.() === 0)('a folder that cannot be read is said', () => {
  mkdirSync(at('closed'))
  chmodSync(at('closed'), 0)
  try {
    expect(() => findVideos(at('closed'))).toThrow(UsageError)
  } finally {
    chmodSync(at('closed'), 0o700)
  }
})

describe('which request names which video', () => {
  test('every round holds each video once, all rounds have one order', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 200 }),
        (seed, n, count) => {
          const drawn = [...drawVideos(count, { length: n }, seed)]
          expect(drawn).toHaveLength(count)
          expect(new Set(drawn.slice(0, n)).size).toBe(Math.min(n, count))
          expect(drawn.every((video, i) => video < n && (i < n || video === drawn[i - n]))).toBeTrue()
        },
      ),
    )
  })

  test('the seed decides', () => {
    const paths = Array.from({ length: 100 }, (_, i) => `${i}`)
    expect(drawVideos(300, paths, 5)).toEqual(drawVideos(300, paths, 5))
    expect(drawVideos(300, paths, 5)).not.toEqual(drawVideos(300, paths, 6))
  })
})
