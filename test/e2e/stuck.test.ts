import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { oneClip, Running, root } from './rnb.ts'

const program = [join(root, 'node_modules/.bin/bun'), join(root, 'test/e2e/faulty-main.ts')]

/** A run of which one worker never comes back from its third video. */
const stuck = (step: string) =>
  new Running(['run', '-c', oneClip(), '--device', 'cpu', '-v', '8', '-mi', '0', '--results', '-'], {
    program,
    env: { FAULT_IN: step, FAULT: 'block', FAULT_AFTER: '2' },
  })

test.each(['0', '1'])(
  'a second signal ends a run whose step %s does not come back, with its results',
  async step => {
    const running = stuck(step)
    // Two come through before the one that is stuck.
    await running.line()
    await running.line()
    running.kill('SIGINT')
    await running.said('again to stop at once')
    running.kill('SIGINT')
    const { status, results, summary } = await running.ended()
    expect(status).toBe(130)
    expect(results.map(({ id }) => id)).toEqual([0, 1])
    expect(summary.exit).toMatchObject({ status: 130, reason: 'interrupted' })
    expect(summary.requests.completed).toBe(2)
    expect(summary.requests.unfinished).toBeGreaterThan(0)
  },
)

test.each(['0', '1'])(
  'a run whose step %s does not come back ends by itself if calls are watched, with its results',
  async step => {
    const running = new Running(
      [
        'run',
        '-c',
        oneClip(),
        '--device',
        'cpu',
        '-v',
        '8',
        '-mi',
        '0',
        '--results',
        '-',
        '--stall-ms',
        '3000',
      ],
      { program, env: { FAULT_IN: step, FAULT: 'block', FAULT_AFTER: '2' } },
    )
    const { status, results, summary } = await running.ended()
    expect(status).toBe(1)
    expect(results.map(({ id }) => id)).toEqual([0, 1])
    expect(summary.exit).toMatchObject({ status: 1, reason: 'failed' })
    expect(summary.exit.message).toContain(`step ${step} (`)
    expect(summary.exit.message).toMatch(
      /it hangs: at request 2 for 3\.\d s, and 3 s is the most \(--stall-ms\)/,
    )
  },
)
