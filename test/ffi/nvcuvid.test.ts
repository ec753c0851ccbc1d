import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NativeError } from '../../ffi/error.ts'
import { check } from '../../ffi/nvcuvid/check.ts'
import * as constants from '../../ffi/nvcuvid/constants.ts'
import { offsetsFromHeaders } from '../../ffi/nvcuvid/generate-offsets.ts'
import offsets from '../../ffi/nvcuvid/offsets.json'
import { Struct } from '../../ffi/nvcuvid/struct.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-nvcuvid-'))
afterAll(() => rmSync(folder, { recursive: true }))

const HEADERS = '#include <ffnvcodec/dynlink_cuda.h>\n#include <ffnvcodec/dynlink_nvcuvid.h>\n'
const haveHeaders =
  Bun.which('gcc') !== null &&
  Bun.spawnSync(['gcc', '-E', '-x', 'c', '-'], { stdin: Buffer.from(HEADERS) }).exitCode === 0
if (!haveHeaders) {
  console.warn('skipping comparison with nvcuvid’s headers: gcc or libffmpeg-nvenc-dev is missing')
}

describe('nvcuvid', () => {
  test.skipIf(!haveHeaders)('struct offsets are those of the installed headers', () => {
    expect(offsets as ReturnType<typeof offsetsFromHeaders>).toEqual(offsetsFromHeaders())
  })

  test.skipIf(!haveHeaders)('constants are those of the headers', () => {
    // The rest of CUresult is in cuda.h, which these headers stand in for.
    const { CUDA_ERROR_NOT_SUPPORTED: _, ...values } = constants
    const names = Object.keys(values)
    const source = join(folder, 'constants.c')
    const program = join(folder, 'constants')
    const lines = names.map(name => `printf("\\"${name}\\":%d,", (int)${name});`).join('\n')
    writeFileSync(source, `${HEADERS}#include <stdio.h>\nint main(void) {\n${lines}\n}\n`)
    expect(Bun.spawnSync(['gcc', '-w', source, '-o', program]).stderr.toString()).toBe('')
    const said = Bun.spawnSync([program]).stdout.toString().slice(0, -1)
    expect(values as Record<string, number>).toEqual(JSON.parse(`{${said}}`))
  })

  test('structs hold numbers of all widths, also negative ones and pointers', () => {
    const packet = new Struct('CUVIDSOURCEDATAPACKET')
    const words = (value: number) => {
      packet.setI64('timestamp', value)
      return packet.i32('timestamp')
    }
    expect(words(-5)).toBe(-5)
    expect(words(2 ** 40 + 7)).toBe(7)
    const info = new Struct('CUVIDRECONFIGUREDECODERINFO')
      .setI16('display_area.right', 4096)
      .setI32('ulWidth', 9)
    expect(info.u16('display_area.right')).toBe(4096)
    expect(info.i32('ulWidth')).toBe(9)
    expect(info.u8('display_area.bottom')).toBe(0)
  })

  test('statuses are checked in one place, by their names', () => {
    expect(() => check('cuvidCreateDecoder', 0)).not.toThrow()
    expect(() => check('cuvidCreateDecoder', 2)).toThrow(NativeError)
    expect(() => check('cuvidCreateDecoder', 2)).toThrow(
      'libnvcuvid: cuvidCreateDecoder returned CUDA_ERROR_OUT_OF_MEMORY (2)',
    )
  })
})
