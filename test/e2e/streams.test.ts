import { expect, test } from 'bun:test'
import { binary, demoVideos, oneClip, rnb, root, run, scratch } from './rnb.ts'

/** Runs a shell pipeline behind the program, which is `$RNB` there. */
function shell(script: string) {
  const { stdout, stderr, exitCode } = Bun.spawnSync(['bash', '-c', `set -o pipefail; ${script}`], {
    cwd: root,
    env: { ...process.env, RNB: binary, CONFIG: oneClip(), LOGS: scratch() },
  })
  return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode }
}

test('a reader that leaves ends the run quietly', () => {
  const { stdout, stderr, exitCode } = shell(
    '"$RNB" -c "$CONFIG" --device cpu -v 300 -mi 5 --results - --quiet --log-dir "$LOGS" | head -n 1',
  )
  expect(stdout.trim().split('\n')).toHaveLength(1)
  expect(JSON.parse(stdout).type).toBe('result')
  expect(stderr).toBe('')
  expect(exitCode).toBe(0)
})

test('standard output holds nothing but JSON Lines, and standard error nothing on a good quiet run', async () => {
  const outcome = await run(oneClip(), ['-v', '5', '-mi', '0'])
  expect(outcome.status).toBe(0)
  expect(outcome.stderr).toBe('')
  expect(outcome.lines.map(({ type }): string => type)).toEqual([
    ...Array<string>(5).fill('result'),
    'summary',
  ])
})

test('infer gives each video that it is given one line, whatever its name looks like', async () => {
  const videos = [demoVideos[0]!, demoVideos[3]!, '/nowhere/--x.mp4']
  const outcome = await rnb(['infer', '-c', oneClip(), '--device', 'cpu', '--quiet', ...videos])
  expect(outcome.status).toBe(0)
  expect(outcome.results.map(({ video }) => video)).toEqual(videos.slice(0, 2))
  expect(outcome.errors.map(({ video, code }): string[] => [video, code])).toEqual([
    [videos[2]!, 'not_found'],
  ])
})
