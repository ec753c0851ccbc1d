import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NativeError } from '../../ffi/error.ts'
import { AVERROR_EOF, AVERROR_INVALIDDATA, check, errorName, errorText } from '../../ffi/libav/check.ts'
import * as constants from '../../ffi/libav/constants.ts'
import { offsetsFromHeaders } from '../../ffi/libav/generate-offsets.ts'
import { libav, libavStatus } from '../../ffi/libav/library.ts'
import offsets from '../../ffi/libav/offsets.json'

// The machine may be busy, and compiling takes its time.
setDefaultTimeout(60_000)

const repository = join(import.meta.dir, '../..')
const folder = mkdtempSync(join(tmpdir(), 'rnb-libav-'))
afterAll(() => rmSync(folder, { recursive: true }))

const haveHeaders =
  Bun.which('gcc') !== null &&
  Bun.spawnSync(['gcc', '-E', '-x', 'c', '-'], {
    stdin: Buffer.from('#include <libavformat/avformat.h>\n#include <libavcodec/avcodec.h>\n'),
  }).exitCode === 0
if (!haveHeaders) console.warn('skipping comparison with FFmpeg’s headers: gcc or libavformat-dev is missing')

const haveLibav = libavStatus().ok
if (!haveLibav) console.warn('skipping tests of libav: it is not installed')

/** What another process, with the folder as RNB_LIBAV_DIR, says of libav. */
function statusWith(libavFolder: string): ReturnType<typeof libavStatus> {
  const program = `console.log(JSON.stringify((await import(${JSON.stringify(`${repository}/ffi/libav/library.ts`)})).libavStatus()))`
  const { stdout, stderr } = Bun.spawnSync([process.execPath, '-e', program], {
    env: { ...process.env, RNB_LIBAV_DIR: libavFolder },
  })
  expect(stderr.toString()).toBe('')
  return JSON.parse(stdout.toString())
}

/** Where the running process has the opened libraries mapped from. */
function mappedFiles(): string[] {
  const maps = Bun.spawnSync(['cat', `/proc/${process.pid}/maps`]).stdout.toString()
  return [...new Set(maps.match(/\/\S*\/libav(util|codec|format)[^\s/]*/g) ?? [])]
}

describe('struct offsets', () => {
  test.skipIf(!haveHeaders)('of the installed headers are those in the table', () => {
    const installed = offsetsFromHeaders()
    const row = Object.entries(offsets).find(([major]) => Number(major) === installed.libavcodec)?.[1]
    expect(row as unknown).toEqual(installed)
  })

  test('are there for every release from 4 to 8, with the libraries that belong together', () => {
    const releases = Object.values(offsets).map(row => [row.libavcodec, row.libavformat, row.libavutil])
    expect(releases).toEqual([
      [58, 58, 56],
      [59, 59, 57],
      [60, 60, 58],
      [61, 61, 59],
      [62, 62, 60],
    ])
  })

  test.skipIf(!haveHeaders)('and constants are those of the headers', () => {
    const names = Object.keys(constants)
    const source = join(folder, 'constants.c')
    const program = join(folder, 'constants')
    const lines = names.map(name => `printf("\\"${name}\\":%lld,", (long long)${name});`).join('\n')
    writeFileSync(
      source,
      `#include <libavcodec/avcodec.h>\n#include <libavformat/avformat.h>\n#include <libavutil/pixdesc.h>\n#include <stdio.h>\nint main(void) {\n${lines}\n}\n`,
    )
    expect(Bun.spawnSync(['gcc', '-w', source, '-o', program]).stderr.toString()).toBe('')
    const said = Bun.spawnSync([program]).stdout.toString().slice(0, -1)
    expect({ ...constants } as Record<string, number>).toEqual(JSON.parse(`{${said}}`))
  })
})

describe.skipIf(!haveLibav)('finding libav', () => {
  test('opens three libraries of one release, silently', () => {
    const { offsets: release, paths, codecVersion, version } = libav()
    expect(paths).toHaveLength(3)
    expect(codecVersion.split('.')[0]).toBe(String(release.libavcodec))
    expect(version).toMatch(/^\D*\d/)
  })

  // Links to a wheel's libraries lie without what these need.
  const installed = !process.env.RNB_LIBAV_DIR
  test.skipIf(!installed)('takes names with hashes and full versions from RNB_LIBAV_DIR', () => {
    const release = libav().offsets
    for (const style of [
      (name: string, major: number) => `${name}-c4204469.so.${major}`,
      (name: string, major: number) => `${name}-0badcafe.so.${major}.3.100`,
      (name: string, major: number) => `${name}.so.${major}`,
    ]) {
      const wheel = mkdtempSync(join(folder, 'wheel-'))
      const linked = (['libavutil', 'libavcodec', 'libavformat'] as const).map(name => {
        const real = mappedFiles().find(file => file.includes(`/${name}`))!
        const link = join(wheel, style(name, release[name]))
        symlinkSync(real, link)
        return link
      })
      expect(statusWith(wheel)).toMatchObject({ ok: true, paths: linked })
    }
  })

  test('a folder without it, or one library of it alone, says what to install', () => {
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    for (const place of [empty, join(folder, 'absent')]) {
      const status = statusWith(place)
      expect(status.ok).toBe(false)
      expect('problem' in status && status.problem).toContain('apt install ffmpeg')
      expect('problem' in status && status.problem).toContain('RNB_LIBAV_DIR')
    }
    const partial = mkdtempSync(join(folder, 'partial-'))
    const codec = mappedFiles().find(file => file.includes('/libavcodec'))!
    symlinkSync(codec, join(partial, `libavcodec.so.${libav().offsets.libavcodec}`))
    expect(statusWith(partial).ok).toBe(false)
  })

  const gcc = Bun.which('gcc')
  if (!gcc) console.warn('skipping the loading of a wheel’s dependencies: gcc is missing')
  test.skipIf(!gcc)('loads what a wheel’s libraries need from their own folder, in order', () => {
    const wheel = mkdtempSync(join(folder, 'needs-'))
    const needs: string[] = []
    const release = offsets['62']
    const build = (name: string, code: string) => {
      const file = join(wheel, name)
      const source = `${file}.c`
      writeFileSync(source, code)
      const made = Bun.spawnSync([
        'gcc',
        '-shared',
        '-fPIC',
        `-Wl,-soname,${name}`,
        source,
        '-o',
        file,
        ...needs,
      ])
      expect(made.stderr.toString()).toBe('')
      rmSync(source)
      needs.unshift(file)
    }
    // Each calls the one before, so that none can be loaded first; without rnb's symbols they are refused by name.
    build('libdeep-11111111.so.1', 'int deep(void) { return 1; }\n')
    build(`libavutil-22222222.so.${release.libavutil}`, 'int deep(void); int util(void) { return deep(); }\n')
    build(
      `libavcodec-33333333.so.${release.libavcodec}`,
      'int util(void); int codec(void) { return util(); }\n',
    )
    build(
      `libavformat-44444444.so.${release.libavformat}`,
      'int codec(void); int format(void) { return codec(); }\n',
    )
    const status = statusWith(wheel)
    expect(status.ok).toBe(false)
    expect('problem' in status && status.problem).toMatch(/avutil_version/)
    rmSync(join(wheel, 'libdeep-11111111.so.1'))
    const incomplete = statusWith(wheel)
    expect('problem' in incomplete && incomplete.problem).toMatch(/libdeep-11111111\.so\.1: cannot open/)
  })
})

describe.skipIf(!haveLibav)('statuses', () => {
  test('have FFmpeg’s names and texts', () => {
    expect(errorName(AVERROR_EOF)).toBe('AVERROR_EOF')
    expect(errorText(AVERROR_EOF)).toBe('End of file')
    expect(errorName(AVERROR_INVALIDDATA)).toBe('AVERROR_INVALIDDATA')
    expect(errorText(AVERROR_INVALIDDATA)).toBe('Invalid data found when processing input')
    expect(errorName(-2)).toBe('AVERROR(ENOENT)')
    expect(errorText(-2)).toBe('No such file or directory')
  })

  test('are checked in one place', () => {
    expect(check('avcodec_open2', 3)).toBe(3)
    expect(() => check('avcodec_open2', AVERROR_INVALIDDATA)).toThrow(NativeError)
    expect(() => check('avcodec_open2', AVERROR_INVALIDDATA)).toThrow(
      'libav: avcodec_open2 returned AVERROR_INVALIDDATA (-1094995529): Invalid data found when processing input',
    )
  })
})
