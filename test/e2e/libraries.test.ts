import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { demo, oneClip, rnb, run, scratch } from './rnb.ts'

const NOTHING = scratch()

test.each([
  ['libav', { RNB_LIBAV_DIR: NOTHING }, 'apt install ffmpeg', 'step 0 (loader)'],
  ['ONNX Runtime', { RNB_ORT_DIR: NOTHING }, 'RNB_ORT_DIR', 'step 1 (network)'],
])('without %s, doctor, --check and the run say what to install', async (what, env, hint, step) => {
  const [doctor, check, running] = await Promise.all([
    rnb(['doctor', '--json'], { env }),
    run(oneClip(), ['-v', '3', '--check'], { env }),
    run(oneClip(), ['-v', '3'], { env }),
  ])
  expect(doctor.status).toBe(1)
  const { ok, findings } = JSON.parse(doctor.stdout) as {
    ok: boolean
    findings: { what: string; ok: boolean; detail: string }[]
  }
  expect(ok).toBe(false)
  expect(findings.find(finding => finding.what === what)).toMatchObject({
    ok: false,
    detail: expect.stringContaining(hint),
  })
  expect(check).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining(hint) })
  expect(running.status).toBe(1)
  expect(running.stderr).toContain(hint)
  expect(running.stderr).toContain(step)
  // What to do is one sentence; a trace would hide it.
  expect(running.stderr).not.toContain('    at ')
  expect(running.summary.exit).toMatchObject({ status: 1, reason: 'failed' })
  expect(running.summary.exit.message).toContain(hint)
})

test('a folder of libraries that holds none of them is named', async () => {
  const env = { RNB_LIBAV_DIR: join(NOTHING, 'deeper') }
  const { status, stderr } = await run(demo.config, ['-v', '1'], { env })
  expect(status).toBe(1)
  expect(stderr).toContain(env.RNB_LIBAV_DIR)
})
