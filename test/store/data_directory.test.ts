import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DataDirectory, DataDirectoryError } from '../../store/data_directory.js';

t.test('a new directory gets an identity that stays, and counts its starts', async (t) => {
  const path = join(t.testdir(), 'data');
  const first = DataDirectory.open(path);
  t.match(first.identity, { formatVersion: 1, clusterId: 0, storeId: 0, incarnation: 1 });
  first.update({ clusterId: 7, storeId: 3 });
  const { directoryId } = first.identity;
  first.close();
  const second = DataDirectory.open(path);
  t.same(second.identity, { formatVersion: 1, clusterId: 7, storeId: 3, directoryId, incarnation: 2 });
  second.close();
});

t.test('a directory that is open is refused, also within one process', async (t) => {
  const path = join(t.testdir(), 'data');
  const open = DataDirectory.open(path);
  t.throws(() => DataDirectory.open(path), {
    name: 'DataDirectoryError',
    message: new RegExp(`process ${process.pid}`),
  });
  open.close();
  DataDirectory.open(path).close();
});

t.test('the lock of a process that is gone, or whose pid another one has now, does not hold', async (t) => {
  const path = join(t.testdir(), 'data');
  DataDirectory.open(path).close();
  for (const content of ['999999999 123\n', `${process.ppid} 1\n`, `${process.pid} 1\n`, 'nonsense\n']) {
    writeFileSync(join(path, 'lock'), content);
    DataDirectory.open(path).close();
  }
  t.notOk(existsSync(join(path, 'lock')));
});

t.test('another format version and a damaged identity are refused with what to do', async (t) => {
  const path = join(t.testdir(), 'data');
  DataDirectory.open(path).close();
  const identity = JSON.parse(readFileSync(join(path, 'identity'), 'utf8')) as object;
  writeFileSync(join(path, 'identity'), JSON.stringify({ ...identity, formatVersion: 9 }));
  t.throws(() => DataDirectory.open(path), /format version 9; this program reads version 1/);
  for (const content of ['{', '{}', JSON.stringify({ ...identity, storeId: 'x' })]) {
    writeFileSync(join(path, 'identity'), content);
    t.throws(() => DataDirectory.open(path), DataDirectoryError);
  }
  t.notOk(existsSync(join(path, 'lock')), 'a refusal leaves no lock');
});
