/**
 * How actual and expected text are compared (FORMAT.md sections 1 and 11). exact: as is, which this core, with log lines of its
 * own, does not aim at. nolog: without logger lines. unordered: also without the order of a Ready's messages to different
 * recipients. state: only directives that show state.
 */
export const comparisonModes = ['exact', 'nolog', 'unordered', 'state'] as const;
export type ComparisonMode = (typeof comparisonModes)[number];

const stateCommands = new Set(['raft-log', 'raft-state', 'status']);

/** True when a mode looks at the text of a command. */
export function compares(mode: ComparisonMode, command: string): boolean {
  return mode !== 'state' || stateCommands.has(command);
}

const loggerLine = /^ *(DEBUG|INFO|WARN|ERROR|FATAL) /;
const messageLine = /^( *)(\S+)->(\S+) Msg/;

/** Both sides as the mode sees them. */
export function normalText(text: string, mode: ComparisonMode = 'unordered'): string {
  const complete = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  if (mode === 'exact') return complete;
  const kept = complete.split('\n').filter((line) => !loggerLine.test(line));
  const joined = (mode === 'unordered' ? orderMessages(kept) : kept).join('\n');
  return joined === '' ? 'ok\n' : joined;
}

/** Sorts the messages of each Ready by recipient; those to one recipient keep their order. */
function orderMessages(lines: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i] ?? '';
    out.push(line);
    i++;
    if (line.trim() !== 'Messages:') continue;
    let end = i;
    while (end < lines.length && !(lines[end] ?? '').startsWith('> ')) end++;
    out.push(...sortBlock(lines.slice(i, end), line.length - line.trimStart().length));
    i = end;
  }
  return out;
}

interface Block {
  readonly recipient: string;
  readonly lines: string[];
}

function sortBlock(lines: readonly string[], indent: number): string[] {
  const messages: Block[] = [];
  const rest: string[] = [];
  for (const line of lines) {
    const match = messageLine.exec(line);
    if (match?.[1]?.length === indent) messages.push({ recipient: match[3] ?? '', lines: [line] });
    else if (line === '' || messages.length === 0) rest.push(line);
    else messages[messages.length - 1]?.lines.push(line);
  }
  messages.sort((a, b) => rank(a.recipient) - rank(b.recipient));
  return [...messages.flatMap((message) => message.lines), ...rest];
}

/** Replicas in numeric order (ids are hexadecimal), then the storage threads. */
function rank(recipient: string): number {
  if (recipient === 'AppendThread') return Number.MAX_SAFE_INTEGER - 1;
  if (recipient === 'ApplyThread') return Number.MAX_SAFE_INTEGER;
  return parseInt(recipient, 16);
}

/** The first line that differs, for people; null: equal. */
export function firstDifference(actual: string, expected: string): string | null {
  if (actual === expected) return null;
  const a = actual.split('\n');
  const e = expected.split('\n');
  let at = 0;
  while (a[at] === e[at]) at++;
  const context = a.slice(Math.max(0, at - 3), at).map((line) => `    ${line}`);
  const expectedLines = e.slice(at, at + 4).map((line) => `  - ${line}`);
  const actualLines = a.slice(at, at + 4).map((line) => `  + ${line}`);
  return [...context, ...expectedLines, ...actualLines].join('\n');
}
