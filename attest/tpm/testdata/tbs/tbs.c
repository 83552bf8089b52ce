/*
 * A tbs.dll for tests: the TPM Base Services of Windows in front of any TPM that
 * answers bare commands over TCP, one connection a command (swtpm behind the
 * test's own door). README.md says what the environment sets.
 *
 * Only what attest/tpm calls is here, with the arguments and results that
 * Microsoft documents for tbs.h. It is not for use outside tests: it trusts its
 * caller's sizes.
 */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef UINT32 TBS_RESULT;

/* Results (tbs.h, winerror.h), of which not every winerror.h has all. */
#define SUCCESS 0
#define BAD_PARAMETER 0x80284002
#define INVALID_CONTEXT 0x80284004
#define INSUFFICIENT_BUFFER 0x80284005
#define IO_ERROR 0x80284006
#define TPM_NOT_FOUND 0x8028400f
#define NO_EVENT_LOG 0x80284011
#define OWNERAUTH_NOT_FOUND 0x80284015
#define COMMAND_BLOCKED 0x80280400

#define MAX_RESPONSE 4096
#define OWNERAUTH_ENDORSEMENT_20 12

/* The one context that is given out. */
static char the_context;

static const char *setting(const char *name)
{
	static char value[4][MAX_PATH];
	static int turn;
	char *v = value[turn++ & 3];
	DWORD n = GetEnvironmentVariableA(name, v, MAX_PATH);
	return n > 0 && n < MAX_PATH ? v : NULL;
}

/* give copies an answer as every call here does: no buffer of no bytes asks for
 * the size alone, and one that is too small is told the right size. */
static TBS_RESULT give(const BYTE *b, UINT32 n, BYTE *out, UINT32 *size)
{
	UINT32 room = *size;

	*size = n;
	if (out == NULL)
		return room == 0 ? SUCCESS : BAD_PARAMETER;
	if (room < n)
		return INSUFFICIENT_BUFFER;
	memcpy(out, b, n);
	return SUCCESS;
}

TBS_RESULT WINAPI Tbsi_Context_Create(const UINT32 *params, void **context)
{
	WSADATA data;

	/* TBS_CONTEXT_PARAMS2: version two, and includeTpm20 among the flags. */
	if (params == NULL || context == NULL || params[0] != 2 || !(params[1] & 4))
		return BAD_PARAMETER;
	if (setting("MUSTER_TBS_PORT") == NULL || WSAStartup(MAKEWORD(2, 2), &data) != 0)
		return TPM_NOT_FOUND;
	*context = &the_context;
	return SUCCESS;
}

TBS_RESULT WINAPI Tbsip_Context_Close(void *context)
{
	if (context != &the_context)
		return INVALID_CONTEXT;
	WSACleanup();
	return SUCCESS;
}

static SOCKET dial(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *port = setting("MUSTER_TBS_PORT");
	SOCKET s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);

	at.sin_port = htons((u_short)atoi(port != NULL ? port : "0"));
	if (s != INVALID_SOCKET && connect(s, (struct sockaddr *)&at, sizeof at) == 0)
		return s;
	closesocket(s);
	return INVALID_SOCKET;
}

/* receive reads a whole response; its length is in its header. */
static int receive(SOCKET s, BYTE *b)
{
	int have = 0, want = 10;

	while (have < want) {
		int n = recv(s, (char *)b + have, want - have, 0);
		if (n <= 0)
			return -1;
		have += n;
		if (have == 10)
			want = b[2] << 24 | b[3] << 16 | b[4] << 8 | b[5];
		if (want < 10 || want > MAX_RESPONSE)
			return -1;
	}
	return have;
}

static int blocked(const BYTE *command, UINT32 n)
{
	const char *code = setting("MUSTER_TBS_BLOCK");
	UINT32 c = n < 10 ? 0 : (UINT32)command[6] << 24 | command[7] << 16 | command[8] << 8 | command[9];

	return code != NULL && strtoul(code, NULL, 0) == c;
}

TBS_RESULT WINAPI Tbsip_Submit_Command(void *context, UINT32 locality, UINT32 priority,
	const BYTE *command, UINT32 n, BYTE *out, UINT32 *size)
{
	BYTE response[MAX_RESPONSE];
	SOCKET s;
	int got = -1;

	if (context != &the_context)
		return INVALID_CONTEXT;
	if (locality != 0 || priority == 0 || command == NULL || out == NULL || size == NULL)
		return BAD_PARAMETER;
	if (blocked(command, n))
		return COMMAND_BLOCKED;
	s = dial();
	if (s == INVALID_SOCKET)
		return IO_ERROR;
	if (send(s, (const char *)command, n, 0) == (int)n)
		got = receive(s, response);
	closesocket(s);
	return got < 0 ? IO_ERROR : give(response, got, out, size);
}

TBS_RESULT WINAPI Tbsi_GetDeviceInfo(UINT32 size, void *info)
{
	/* TPM_DEVICE_INFO: structVersion, tpmVersion, tpmInterfaceType, tpmImpRevision. */
	static const UINT32 emulator[4] = { 1, 2, 4, 0 };

	if (size != sizeof emulator || info == NULL)
		return BAD_PARAMETER;
	memcpy(info, emulator, sizeof emulator);
	return SUCCESS;
}

/* The endorsement hierarchy's authorisation, where the test sets one. */
TBS_RESULT WINAPI Tbsi_Get_OwnerAuth(void *context, UINT32 type, BYTE *out, UINT32 *size)
{
	const char *auth = setting("MUSTER_TBS_OWNERAUTH");

	if (context != &the_context)
		return INVALID_CONTEXT;
	if (type != OWNERAUTH_ENDORSEMENT_20 || auth == NULL)
		return OWNERAUTH_NOT_FOUND;
	return give((const BYTE *)auth, strlen(auth), out, size);
}

/* A log is the file <type>.log of the folder. */
static TBS_RESULT give_log(UINT32 type, BYTE *out, UINT32 *size)
{
	const char *folder = setting("MUSTER_TBS_LOGS");
	char path[MAX_PATH + 16];
	TBS_RESULT r = NO_EVENT_LOG;
	BYTE *b = NULL;
	FILE *f;
	long n;

	if (size == NULL)
		return BAD_PARAMETER;
	if (folder == NULL)
		return NO_EVENT_LOG;
	snprintf(path, sizeof path, "%s\\%u.log", folder, type);
	f = fopen(path, "rb");
	if (f == NULL)
		return NO_EVENT_LOG;
	if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 && (b = malloc(n + 1)) != NULL) {
		rewind(f);
		r = fread(b, 1, n, f) == (size_t)n ? give(b, n, out, size) : IO_ERROR;
	}
	free(b);
	fclose(f);
	return r;
}

#ifndef OLD_WINDOWS
TBS_RESULT WINAPI Tbsi_Get_TCG_Log_Ex(UINT32 type, BYTE *out, UINT32 *size)
{
	if (type > 3)
		return BAD_PARAMETER;
	return give_log(type, out, size);
}
#endif

TBS_RESULT WINAPI Tbsi_Get_TCG_Log(void *context, BYTE *out, UINT32 *size)
{
	if (context != &the_context)
		return INVALID_CONTEXT;
	return give_log(0, out, size);
}
