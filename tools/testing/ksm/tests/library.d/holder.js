// SPDX-License-Identifier: GPL-2.0
// Hold texts of half a MiB; print their checksum, wait for a line, print it once more.
'use strict';
const crypto = require('crypto');

const SIZE = 512 * 1024;
let state = 1;

function makeText() {
	const bytes = Buffer.alloc(SIZE);

	for (let i = 0; i < SIZE; i += 4) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		bytes.writeUInt32LE(state, i);
	}
	return bytes.toString('latin1');
}

const texts = Array.from({ length: 20 }, makeText);

function checksum() {
	const hash = crypto.createHash('sha256');

	texts.forEach((text) => hash.update(text, 'latin1'));
	return hash.digest('hex');
}

console.log(checksum());
process.stdin.once('data', () => {
	console.log(checksum());
	process.exit(0);
});
