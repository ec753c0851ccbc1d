import { expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, file, oneClip, rnb, run, scratch } from './rnb.ts'

const weights = readFileSync(demo.weights)

/** The demo's weights with a text of the header replaced by one as long. */
function renamed(from: string, to: string): Uint8Array {
  const bytes = Buffer.from(weights)
  const at = bytes.indexOf(`"${from}"`)
  expect(at).toBeGreaterThan(0)
  bytes.write(to, at + 1)
  return bytes
}

const proof = join(scratch(), 'was-executed')
const latin1 = (text: string) => Buffer.from(text, 'latin1')

/**
 * A file as torch.save wrote it before 1.6: three small pickles (magic number, version, system), then one that calls
 * os.system when it is unpickled.
 */
const hostilePickle = Buffer.concat([
  latin1('\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.'),
  latin1('\x80\x02M\xe9\x03.'),
  latin1('\x80\x02}q\x00.'),
  latin1(
    `\x80\x02cposix\nsystem\nq\x00X${String.fromCharCode(`touch ${proof}`.length)}\x00\x00\x00touch ${proof}\x85R.`,
  ),
])

/** What is wrong, the file, and what must be said besides its name. */
const cases: [string, string, string][] = [
  ['no such file', join(scratch(), 'nowhere.pth'), 'no such file'],
  ['a folder', scratch(), 'not a file'],
  ['an empty file', file('weights.pth', ''), 'empty'],
  ['a text', file('weights.pth', 'weights\n'), 'neither safetensors nor a file of torch.save'],
  [
    'a video',
    file('weights.pth', readFileSync(join(demo.videos, 'grows/grows-1.mp4'))),
    'neither safetensors',
  ],
  ['the first half', file('half.safetensors', weights.subarray(0, weights.length >> 1)), 'truncated'],
  ['half a header', file('half.safetensors', weights.subarray(0, 500)), 'truncated'],
  [
    'another architecture',
    file('other.safetensors', renamed('layer1.0.conv1.0.1.running_mean', 'layer1.0.conv1.0.1.walking_mean')),
    'missing layer1.0.conv1.0.1.running_mean [18]; unexpected layer1.0.conv1.0.1.walking_mean [18]',
  ],
  ['a hostile pickle', file('hostile.pth', hostilePickle), 'posix.system'],
]

test.each(cases)('%s is wrong use: status 2, and what is wrong', async (_, path, said) => {
  const outcomes = await Promise.all([
    run(oneClip(), ['-v', '1', '--weights', path]),
    rnb(['weights', 'inspect', path]),
  ])
  const [running] = outcomes
  expect({ status: running.status, stdout: running.stdout }).toEqual({ status: 2, stdout: '' })
  expect(running.stderr).toStartWith(`rnb: weights ${path}: `)
  expect(running.stderr).toContain(said)
  expect(running.stderr).not.toContain('    at ')
  expect(existsSync(proof)).toBe(false)
})

test('inspect tells of a file that is no network what it holds, and refuses what it cannot read', async () => {
  const [other, text, good] = await Promise.all([
    rnb(['weights', 'inspect', cases.find(([name]) => name === 'another architecture')![1]]),
    rnb(['weights', 'inspect', cases.find(([name]) => name === 'a text')![1]]),
    rnb(['weights', 'inspect', demo.weights]),
  ])
  expect(other.status).toBe(0)
  expect(JSON.parse(other.stdout)).toMatchObject({ type: 'inspection', format: 'safetensors' })
  expect(JSON.parse(other.stdout).problem).toContain('walking_mean')
  expect({ status: text.status, stdout: text.stdout }).toEqual({ status: 2, stdout: '' })
  expect(good.status).toBe(0)
  expect(JSON.parse(good.stdout).architecture).toMatchObject({ classes: 8 })
})
