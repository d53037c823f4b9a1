// SPDX-License-Identifier: GPL-2.0
// Hold texts in strings; print their checksum, wait for a line, print it once more.
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

static std::string make_text(std::uint32_t &state)
{
	std::string text;

	for (int i = 0; i < 3000; i++) {
		state = state * 1664525 + 1013904223;
		text += static_cast<char>('a' + (state >> 24) % 26);
	}
	text.shrink_to_fit();
	return text;
}

static std::uint64_t checksum(const std::vector<std::string> &texts)
{
	std::uint64_t sum = 14695981039346656037u;

	for (const auto &text : texts)
		for (unsigned char c : text)
			sum = (sum ^ c) * 1099511628211u;
	return sum;
}

int main()
{
	std::vector<std::string> texts;
	std::uint32_t state = 1;
	std::string line;

	for (int i = 0; i < 4000; i++)
		texts.push_back(make_text(state));
	std::cout << checksum(texts) << std::endl;
	std::getline(std::cin, line);
	std::cout << checksum(texts) << std::endl;
	return 0;
}
