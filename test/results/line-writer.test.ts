import { afterAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AtomicFile, LinesFile, writeFileAtomic } from '../../src/results/atomic-file.ts'
import { LineWriter } from '../../src/results/line-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-lines-'))
afterAll(() => rmSync(folder, { recursive: true }))

const program = (count: number, length: number, stdout: 'pipe' | number = 'pipe') =>
  Bun.spawn(
    [process.execPath, join(import.meta.dir, 'line-writer-program.ts'), String(count), String(length)],
    {
      stdout,
      stderr: 'pipe',
    },
  )
const said = async (child: ReturnType<typeof program>) => JSON.parse(await new Response(child.stderr).text())

describe('a line writer', () => {
  test('writes every line once, whole and in order, to a reader that is slow at first', async () => {
    const child = program(20_000, 100)
    // Nothing is read until the writer has filled the pipe and its own room.
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader()
    const chunks: Uint8Array[] = []
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) chunks.push(chunk.value)
    const lines = Buffer.concat(chunks).toString().split('\n')
    expect(lines.pop()).toBe('')
    expect(lines).toEqual(Array.from({ length: 20_000 }, (_, i) => `${i} ${'é'.repeat(100)}`))
    expect(await said(child)).toMatchObject({ closed: false, fault: '', written: 20_000, broken: false })
    expect(await child.exited).toBe(0)
  }, 20_000)

  test('stops quietly when the reader goes', async () => {
    const child = program(1_000_000, 100)
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    const end = await said(child)
    expect(end).toMatchObject({ closed: true, fault: '', broken: true })
    // It waited for the reader, so it can't have run far ahead.
    expect(end.waits).toBeGreaterThan(0)
    expect(end.written).toBeLessThan(1_000_000)
    expect(await child.exited).toBe(0)
  }, 20_000)

  test('reports a full disk, and takes no more', async () => {
    const full = openSync('/dev/full', 'w')
    const end = await said(program(100_000, 100, full))
    closeSync(full)
    expect(end).toMatchObject({ closed: false, broken: true })
    expect(end.fault).toContain('ENOSPC')
  }, 20_000)

  test('has no room while a reader that takes nothing keeps it from writing', async () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    // Read and write: opening does not wait for another end.
    const fd = openSync(pipe, 'r+')
    const writer = new LineWriter(fd)
    const line = 'x'.repeat(1 << 16)
    let lines = 0
    for (; writer.room; lines++) writer.write(line)
    expect(lines).toBeLessThanOrEqual((1 << 20) / line.length + 1)
    let read = 0
    const take = () => readSync(fd)
    const drained = writer.drained().then(() => true)
    while (!writer.room) read += await take()
    expect(await drained).toBe(true)
    const flushed = writer.flushed()
    while (read < lines * (line.length + 1)) read += await take()
    await flushed
    expect(read).toBe(lines * (line.length + 1))
    closeSync(fd)
  }, 20_000)
})

/** Reads what there is, on the thread pool. */
async function readSync(fd: number): Promise<number> {
  const { read } = await import('node:fs')
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  read(fd, Buffer.alloc(1 << 16), 0, 1 << 16, null, (error, bytes) =>
    error ? reject(error) : resolve(bytes),
  )
  return promise
}

describe('a file is complete or absent', () => {
  test('it has no name until it is whole', () => {
    const path = join(folder, 'whole.txt')
    const file = new AtomicFile(path)
    file.write('x'.repeat(200_000))
    expect(readdirSync(folder)).not.toContain('whole.txt')
    file.write('end\n')
    file.commit()
    expect(readFileSync(path, 'utf8')).toBe(`${'x'.repeat(200_000)}end\n`)
    expect(readdirSync(folder).filter(name => name.includes('partial'))).toEqual([])
  })

  test('what is given up leaves nothing, and an older file as it was', () => {
    const path = join(folder, 'older.txt')
    writeFileSync(path, 'older')
    const file = new AtomicFile(path)
    file.write('newer')
    file.abandon()
    expect(readFileSync(path, 'utf8')).toBe('older')
    expect(() => writeFileAtomic(join(folder, 'no', 'such', 'folder'), '')).toThrow('ENOENT')
    expect(readdirSync(folder).filter(name => name.includes('partial'))).toEqual([])
  })

  test('lines get their name at the end; a link stays one', async () => {
    const target = join(folder, 'target.jsonl')
    const link = join(folder, 'link.jsonl')
    writeFileSync(target, 'older')
    symlinkSync(target, link)
    const file = new LinesFile(link)
    file.lines.write('{"a":1}')
    await file.lines.flushed()
    expect(readFileSync(target, 'utf8')).toBe('older')
    expect(await file.finish()).toBeUndefined()
    expect(readFileSync(target, 'utf8')).toBe('{"a":1}\n')
    expect(readdirSync(folder).filter(name => name.includes('partial'))).toEqual([])
  })

  test('a device is written to as it is', async () => {
    const null_ = new LinesFile('/dev/null')
    null_.lines.write('x')
    expect(await null_.finish()).toBeUndefined()
    const full = new LinesFile('/dev/full')
    full.lines.write('x')
    expect((await full.finish())?.message).toContain('ENOSPC')
  })
})
