import { inflateRawSync } from 'node:zlib'
import type { SourceFile } from './file.ts'

// Signatures and sizes of the records in a ZIP file (APPNOTE.TXT, section 4.3).
const END = 0x06054b50
const END_SIZE = 22
const END_64 = 0x06064b50
const LOCATOR_64 = 0x07064b50
const LOCATOR_64_SIZE = 20
const CENTRAL = 0x02014b50
const CENTRAL_SIZE = 46
const LOCAL = 0x04034b50
const LOCAL_SIZE = 30
const LONGEST_COMMENT = 0xffff
const IN_EXTRA_32 = 0xffffffff
const EXTRA_64 = 1

const STORED = 0
const DEFLATED = 8
const ENCRYPTED = 1

/** A file inside the archive. Its bytes are read, unpacked and checked when asked for. */
export interface ZipEntry {
  readonly name: string
  readonly size: number
  /** @throws {UsageError} if the archive does not hold them undamaged */
  read(): Uint8Array
}

/** Fields of a record, little-endian. */
class Fields {
  private readonly view: DataView
  constructor(readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  u16 = (at: number) => this.view.getUint16(at, true)
  u32 = (at: number) => this.view.getUint32(at, true)
  u64 = (at: number) => Number(this.view.getBigUint64(at, true))
}

interface Directory {
  entries: number
  size: number
  offset: number
}

/** The place of the central directory, from the record at the file's end. */
function findDirectory(file: SourceFile): Directory {
  const length = Math.min(file.size, END_SIZE + LONGEST_COMMENT)
  const start = file.size - length
  const tail = new Fields(file.read(start, length, 'the end of the ZIP directory'))
  let at = length - END_SIZE
  while (at >= 0 && !(tail.u32(at) === END && at + END_SIZE + tail.u16(at + 20) <= length)) at--
  if (at < 0) throw file.error('truncated: a ZIP file (torch.save) without the directory at its end')
  const end = { entries: tail.u16(at + 10), size: tail.u32(at + 12), offset: tail.u32(at + 16) }
  const locator = start + at - LOCATOR_64_SIZE
  if (locator < 0) return end
  const pointer = new Fields(file.read(locator, LOCATOR_64_SIZE, 'the ZIP64 locator'))
  if (pointer.u32(0) !== LOCATOR_64) return end
  const large = new Fields(file.read(pointer.u64(8), 56, 'the ZIP64 directory'))
  if (large.u32(0) !== END_64) throw file.error('damaged: no ZIP64 directory where the file says it is')
  return { entries: large.u64(32), size: large.u64(40), offset: large.u64(48) }
}

/** Sizes and offset that do not fit into 32 bits stand in an extra field, in this order, if marked so. */
function wide(
  record: Fields,
  at: number,
  nameLength: number,
): { packed: number; size: number; offset: number } {
  const sizes = { size: record.u32(at + 24), packed: record.u32(at + 20), offset: record.u32(at + 42) }
  const start = at + CENTRAL_SIZE + nameLength
  const end = start + record.u16(at + 30)
  for (let extra = start; extra + 4 <= end; extra += 4 + record.u16(extra + 2)) {
    if (record.u16(extra) !== EXTRA_64) continue
    let value = extra + 4
    for (const key of ['size', 'packed', 'offset'] as const) {
      if (sizes[key] !== IN_EXTRA_32 || value + 8 > end) continue
      sizes[key] = record.u64(value)
      value += 8
    }
  }
  return sizes
}

interface Stored {
  name: string
  method: number
  checksum: number
  packed: number
  size: number
  offset: number
}

function readEntry(file: SourceFile, entry: Stored): Uint8Array {
  const what = `${entry.name} of the archive`
  const head = new Fields(file.read(entry.offset, LOCAL_SIZE, what))
  if (head.u32(0) !== LOCAL) throw file.error(`damaged: ${what} is not where the directory says`)
  const start = entry.offset + LOCAL_SIZE + head.u16(26) + head.u16(28)
  let bytes: Uint8Array = file.read(start, entry.packed, what)
  if (entry.method === DEFLATED) {
    try {
      bytes = inflateRawSync(bytes, { maxOutputLength: Math.max(entry.size, 1) })
    } catch (error) {
      throw file.error(`damaged: ${what} cannot be unpacked (${(error as Error).message})`)
    }
  }
  if (bytes.byteLength !== entry.size) {
    throw file.error(`damaged: ${what} has ${bytes.byteLength} bytes, not ${entry.size}`)
  }
  const checksum = Bun.hash.crc32(bytes) >>> 0
  if (checksum !== entry.checksum) throw file.error(`damaged: the checksum of ${what} does not match`)
  return bytes
}

/**
 * Lists the files in a ZIP archive, by name, reading its directory only: so that 125 MB of tensors are read once, each
 * into its own memory.
 * @throws {UsageError} if the directory is damaged, or an entry is packed in another way than stored or deflated
 */
export function readZip(file: SourceFile): Map<string, ZipEntry> {
  const directory = findDirectory(file)
  const record = new Fields(file.read(directory.offset, directory.size, 'the ZIP directory'))
  const entries = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < directory.entries; i++) {
    if (at + CENTRAL_SIZE > directory.size || record.u32(at) !== CENTRAL) {
      throw file.error(`damaged: the ZIP directory ends after ${i} of ${directory.entries} entries`)
    }
    const nameLength = record.u16(at + 28)
    const next = at + CENTRAL_SIZE + nameLength + record.u16(at + 30) + record.u16(at + 32)
    if (next > directory.size) throw file.error('damaged: the ZIP directory ends inside an entry')
    const name = new TextDecoder().decode(
      record.bytes.subarray(at + CENTRAL_SIZE, at + CENTRAL_SIZE + nameLength),
    )
    const method = record.u16(at + 10)
    if (record.u16(at + 8) & ENCRYPTED) throw file.error(`${name} of the archive is encrypted`)
    if (method !== STORED && method !== DEFLATED) {
      throw file.error(
        `${name} of the archive is packed by method ${method}; only stored and deflated are read`,
      )
    }
    if (entries.has(name)) throw file.error(`damaged: the archive holds ${name} twice`)
    const stored = { name, method, checksum: record.u32(at + 16), ...wide(record, at, nameLength) }
    entries.set(name, { name, size: stored.size, read: () => readEntry(file, stored) })
    at = next
  }
  return entries
}
